import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Kind, OperationTypeNode, parse, type ExecutionResult } from 'graphql';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { fieldScopes } from '../../../src/adapters/graphql/scoped-fields.ts';
import { newId } from '../../../src/shared/ids.ts';
import { hasScope, scopes, type Principal, type Scope } from '../../../src/shared/principal.ts';
import { documentOf, rootFields } from '../../support/root-fields.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';

let bench: GraphqlBench;
beforeAll(async () => {
  bench = await startGraphqlBench();
});
afterAll(async () => bench.close());
beforeEach(() => {
  bench.world.audited.length = 0;
});

const fields = () => rootFields(bench.endpoint.graphql.schema);
const keyWith = (...held: Scope[]): Principal => ({ keyId: newId(), owner: 'somebody', role: 'ADMIN', scopes: held });

async function codesOf(document: TypedDocumentNode<unknown, Record<string, unknown>>, principal: Principal): Promise<unknown[]> {
  const stop = new AbortController();
  const caller = { principal, requestId: 'r', signal: stop.signal };
  const { graphql } = bench.endpoint;
  const isSubscription = document.definitions.some((node) => node.kind === Kind.OPERATION_DEFINITION && node.operation === OperationTypeNode.SUBSCRIPTION);
  const result = isSubscription ? await graphql.subscribe(document, {}, caller) : await graphql.execute(document, {}, caller);
  stop.abort();
  return Symbol.asyncIterator in result ? [] : ((result as ExecutionResult).errors ?? []).map((error) => error.extensions['code']);
}

const ask = (query: string, principal: Principal): Promise<unknown[]> => codesOf(parse(query), principal);
const globalId = (kind: string, id: string): string => Buffer.from(`${kind}:${id}`).toString('base64');

describe('scopes', () => {
  it('are said of every field of the roots', () => {
    expect(fields().map(([root, field]) => `${root}.${field.name}`).filter((name) => !Object.hasOwn(fieldScopes, name))).toEqual([]);
  });

  it('let a key do everything that they hold and nothing else, whichever of all fields it tries', async () => {
    const wrong: string[] = [];
    for (const scope of scopes) {
      const principal = keyWith(scope);
      for (const [root, field] of fields()) {
        const needed = fieldScopes[`${root}.${field.name}`] ?? null;
        const may = needed === null || hasScope(principal, needed);
        const isDenied = (await codesOf(documentOf(root.toLowerCase(), field), principal)).includes('FORBIDDEN');
        // The one global id that the documents ask for is a download's.
        if (field.name === 'node' || field.name === 'nodes') continue;
        if (may === isDenied) wrong.push(`${scope}: ${root}.${field.name} ${isDenied ? 'is denied' : 'is let through'}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it('never give what the role does not', async () => {
    const viewer: Principal = { ...keyWith(...scopes), role: 'VIEWER' };
    for (const [root, field] of fields().filter(([name]) => name === 'Mutation')) expect([field.name, ...(await codesOf(documentOf(root.toLowerCase(), field), viewer))]).toEqual([field.name, 'FORBIDDEN']);
  });

  it('hold on the way over other things, over lists and by global ids', async () => {
    const { deployments, downloads, sessions, models } = bench.world;
    const ways: [Scope, string][] = [
      ['models:read', '{ model(id: "huggingface:acme/model-0") { deployments { name } } }'],
      ['models:read', '{ models { nodes { downloads { taskId } } } }'],
      ['chat', `{ chatSession(id: "${sessions[0]!.id}") { deployments { name } } }`],
      ['models:read', `{ node(id: "${globalId('Deployment', deployments[0]!.id)}") { id } }`],
      ['models:read', `{ nodes(ids: ["${globalId('Model', models[0]!.id)}", "${globalId('DownloadTask', downloads[0]!.id)}"]) { id } }`],
      ['deployments:write', `{ node(id: "${globalId('ChatSession', sessions[0]!.id)}") { id } }`],
      ['chat', `{ node(id: "${globalId('ApiKey', newId())}") { id } }`],
      ['keys', `{ node(id: "${globalId('AuditEntry', newId())}") { id } }`],
    ];
    for (const [scope, query] of ways) expect([query, ...new Set(await ask(query, keyWith(scope)))]).toEqual([query, 'FORBIDDEN']);
    expect(await ask(`{ node(id: "${globalId('Deployment', deployments[0]!.id)}") { id } }`, keyWith('deployments:read'))).toEqual([]);
  });

  it('that are missing are recorded, of mutations as what they would have been', async () => {
    await ask('{ apiKeys { name } }', keyWith('chat'));
    await ask(`mutation { stopDeployment(input: { deploymentId: "${bench.world.deployments[0]!.id}" }) { __typename } }`, keyWith('deployments:read'));
    expect(bench.world.audited.map(({ action, target, errorCode }) => [action, target?.id, errorCode])).toEqual([
      ['access.authorize', 'Query.apiKeys', 'FORBIDDEN'],
      ['deployment.stop', bench.world.deployments[0]!.id, 'FORBIDDEN'],
    ]);
  });
});

describe('a key for certain deployments', () => {
  const session = '01900000-0000-7000-8003-000000000000';
  const others: Principal = { keyId: newId(), owner: 'somebody', role: 'ADMIN', allowedDeployments: [newId()] };

  it('meets no other one, whichever way it comes', async () => {
    const id = bench.world.deployments[0]!.id;
    const run = async (query: string): Promise<ExecutionResult> => await bench.endpoint.graphql.execute(parse(query), {}, { principal: others, requestId: 'r', signal: new AbortController().signal });
    expect((await run(`{ deployment(id: "${id}") { name } }`)).errors?.[0]?.extensions['code']).toBe('DEPLOYMENT_NOT_FOUND');
    expect((await run(`{ node(id: "${globalId('Deployment', id)}") { id } }`)).data).toEqual({ node: null });
    expect((await run('{ models { nodes { deployments { name } } } }')).data).toMatchObject({ models: { nodes: [{ deployments: [] }, { deployments: [] }, { deployments: [] }] } });
    expect((await run('{ systemResources { deployments { name } } }')).data).toMatchObject({ systemResources: { deployments: [] } });
    expect((await run(`{ chatSession(id: "${session}") { deployments { name } } }`)).data).toMatchObject({ chatSession: { deployments: [] } });
    for (const mutation of ['stopDeployment', 'restartDeployment', 'updateDeployment', 'deleteDeployment', 'startDeployment']) {
      expect([mutation, (await run(`mutation { r: ${mutation}(input: { deploymentId: "${id}" }) { __typename } }`)).data]).toEqual([mutation, { r: { __typename: 'NotFoundError' } }]);
    }
    expect((await run('mutation { startDeployment(input: { modelId: "acme/x" }) { __typename } }')).errors?.[0]?.extensions['code']).toBe('FORBIDDEN');
  });
});
