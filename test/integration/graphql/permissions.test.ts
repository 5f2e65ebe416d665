import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { getNullableType, isEnumType, isInputObjectType, isListType, isNonNullType, isLeafType, getNamedType, parse, type ExecutionResult, type GraphQLField, type GraphQLInputType } from 'graphql';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { hasRole, roles, type Principal, type Role } from '../../../src/shared/principal.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';

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
    ['startDownload', 'pauseDownload', 'resumeDownload', 'cancelDownload', 'retryDownload', 'prioritizeDownload', 'limitDownloads', 'removeDownloadTask', 'verifyInstalledModel', 'repairInstalledModel', 'adoptModels', 'deleteInstalledModel', 'refreshModel',
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

const uuid = '01900000-0000-7000-8000-000000000077';

const globalId = Buffer.from(`DownloadTask:${uuid}`).toString('base64');

function literalOf(type: GraphQLInputType): string {
  const inner = getNullableType(type);
  if (isListType(inner)) return `[${literalOf(inner.ofType)}]`;
  if (isEnumType(inner)) return inner.getValues()[0]!.name;
  if (isInputObjectType(inner)) {
    const given = Object.values(inner.getFields()).filter((field) => isNonNullType(field.type));
    return `{ ${given.map((field) => `${field.name}: ${literalOf(field.type)}`).join(', ')} }`;
  }
  const byName: Record<string, string> = { Int: '1', Float: '1', Boolean: 'true', ID: `"${uuid}"`, ModelId: '"acme/none"', DateTime: '"2026-01-01T00:00:00Z"', String: '"text"', ByteSize: '4096' };
  return byName[inner.name] ?? '"x"';
}

function documentOf(kind: string, field: GraphQLField<unknown, unknown>): TypedDocumentNode<unknown, Record<string, unknown>> {
  const required = field.args.filter((argument) => isNonNullType(argument.type));
  // Only these two take nothing but global ids.
  const isNode = field.name === 'node' || field.name === 'nodes';
  const given = required.map((argument) => `${argument.name}: ${isNode ? `"${globalId}"` : literalOf(argument.type)}`);
  const selection = isLeafType(getNamedType(field.type)) ? '' : ' { __typename }';
  return parse(`${kind} { ${field.name}${given.length > 0 ? `(${given.join(', ')})` : ''}${selection} }`);
}

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
  const { schema } = bench.endpoint.graphql;
  const fieldsOf = (kind: string, type: ReturnType<typeof schema.getQueryType>) => Object.values(type?.getFields() ?? {}).map((field): [string, GraphQLField<unknown, unknown>] => [kind, field]);
  return [...fieldsOf('query', schema.getQueryType()), ...fieldsOf('mutation', schema.getMutationType()), ...fieldsOf('subscription', schema.getSubscriptionType())];
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

  it('makes no key that only looks narrow', async () => {
    const make = (scopes: unknown) => bench.ask('mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { __typename } }', { input: { name: 'n', owner: 'o', role: 'ADMIN', scopes } });
    const refused = await make(['chat:read']);
    expect(refused.body.errors?.[0]?.extensions).toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'input.scopes' }] } });
    for (const none of [[], null]) expect((await make(none)).body.data).toEqual({ createApiKey: { __typename: 'CreateApiKeyPayload' } });
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
