import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { ExecutionResult, GraphQLField } from 'graphql';
import { hasRole, roles, type Principal, type Role } from '../../../src/shared/principal.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';
import { documentOf, rootFields, unknownUuid } from '../../support/root-fields.ts';

/** The weakest role that may use each field. A new field without a row fails. */
const needed: Record<string, Role> = {
  ...Object.fromEntries(
    [
      'models', 'model', 'modelCategories', 'modelSources', 'installedModels', 'installedModel', 'storage', 'storageJob', 'downloadLimits', 'downloadTasks', 'downloadTask', 'deployments', 'deployment',
      'deploymentRuntimes', 'deploymentFit', 'chatSessions', 'chatSession', 'systemResources', 'systemResourceHistory', 'alerts', 'alertRules', 'viewer', 'serverInfo', 'node', 'nodes',
    ].map((name) => [`query ${name}`, 'VIEWER']),
  ),
  'query apiKeys': 'ADMIN',
  'query auditLog': 'ADMIN',
  'subscription auditLogged': 'ADMIN',
  ...Object.fromEntries(
    ['startDownload', 'pauseDownload', 'resumeDownload', 'cancelDownload', 'retryDownload', 'prioritizeDownload', 'limitDownloads', 'removeDownloadTask', 'verifyInstalledModel', 'repairInstalledModel', 'adoptModels', 'cancelStorageJob', 'deleteInstalledModel', 'refreshModel',
      'startDeployment', 'stopDeployment', 'restartDeployment', 'updateDeployment', 'deleteDeployment', 'acknowledgeAlert'].map((name) => [`mutation ${name}`, 'OPERATOR']),
  ),
  ...Object.fromEntries(
    ['createChatSession', 'updateChatSession', 'deleteChatSession', 'sendChatMessage', 'regenerateChatMessage', 'editChatMessage', 'stopChatMessage', 'exportChatSession', 'importChatSession'].map((name) => [`mutation ${name}`, 'USER']),
  ),
  ...Object.fromEntries(['importModel', 'createApiKey', 'revokeApiKey', 'rotateApiKey', 'createAlertRule', 'updateAlertRule', 'deleteAlertRule'].map((name) => [`mutation ${name}`, 'ADMIN'])),
  ...Object.fromEntries(
    ['downloadProgress', 'deploymentStatus', 'deploymentLogs', 'chatStream', 'chatSessionUpdated', 'systemResources', 'alertRaised'].map((name) => [`subscription ${name}`, 'VIEWER']),
  ),
};

const uuid = unknownUuid;

let bench: GraphqlBench;
beforeAll(async () => {
  bench = await startGraphqlBench();
});
afterAll(async () => bench.close());

async function codesFor(kind: string, field: GraphQLField<unknown, unknown>, principal: Principal | null): Promise<unknown[]> {
  const { graphql } = bench.endpoint;
  const stop = new AbortController();
  const caller = { principal, requestId: 'r', signal: stop.signal };
  const run = kind === 'subscription' ? graphql.subscribe(documentOf(kind, field), {}, caller) : graphql.execute(documentOf(kind, field), {}, caller);
  const result = await run;
  stop.abort();
  if (Symbol.asyncIterator in result) return [];
  return ((result as ExecutionResult).errors ?? []).map((error) => error.extensions['code']);
}

function allFields(): [string, GraphQLField<unknown, unknown>][] {
  return rootFields(bench.endpoint.graphql.schema).map(([root, field]) => [root.toLowerCase(), field]);
}

describe('permissions', () => {
  it('has a row for every field', () => {
    expect(allFields().map(([kind, field]) => `${kind} ${field.name}`).sort()).toEqual(Object.keys(needed).sort());
  });

  it.each([...roles])('lets %s use what the role may and denies the rest with FORBIDDEN', async (role) => {
    const principal = bench.world.principals.get(bench.world.keyOf(role))!;
    const wrong: string[] = [];
    for (const [kind, field] of allFields()) {
      const name = `${kind} ${field.name}`;
      const codes = await codesFor(kind, field, principal);
      const isDenied = codes.includes('FORBIDDEN') || codes.includes('UNAUTHENTICATED');
      if (isDenied === hasRole(principal, needed[name]!) || codes.includes('INTERNAL')) wrong.push(`${name}: ${codes.join()}`);
    }
    expect(wrong).toEqual([]);
  });

  it('answers nothing without a key', async () => {
    for (const [kind, field] of allFields()) expect([field.name, ...(await codesFor(kind, field, null))]).toEqual([field.name, 'UNAUTHENTICATED']);
  });

  it("treats another owner's session as missing on every path", async () => {
    bench.world.principals.set('other', { keyId: uuid, owner: 'somebody else', role: 'USER' });
    const id = bench.world.sessions[0]!.id;
    const sessionNode = Buffer.from(`ChatSession:${id}`).toString('base64');
    const seen = await bench.ask('query ($id: ID!, $node: ID!) { chatSession(id: $id) { title } node(id: $node) { id } chatSessions { nodes { id } } }', { id, node: sessionNode }, 'other');
    expect(seen.body.data).toEqual({ chatSession: null, node: null, chatSessions: { nodes: [] } });
    expect(seen.body.errors?.map((error) => error.extensions.code)).toEqual(['CHAT_SESSION_NOT_FOUND']);
    const gone = await bench.ask('mutation ($input: DeleteChatSessionInput!) { deleteChatSession(input: $input) { ... on UserError { code } } }', { input: { sessionId: id } }, 'other');
    expect(gone.body.data).toEqual({ deleteChatSession: { code: 'CHAT_SESSION_NOT_FOUND' } });
  });

  it('hides a key from those who may not see keys, by node as well', async () => {
    const node = Buffer.from('ApiKey:01900000-0000-7000-8000-0000000000aa').toString('base64');
    const answer = await bench.ask('query ($id: ID!) { node(id: $id) { id ... on ApiKey { prefix } } }', { id: node }, bench.world.keyOf('OPERATOR'));
    expect(JSON.stringify(answer.body.data ?? null)).not.toContain('llmm_x');
    expect(answer.body.errors?.[0]?.extensions.code).toBe('FORBIDDEN');
  });
});
