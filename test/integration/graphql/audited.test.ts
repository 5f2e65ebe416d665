import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { auditedMutations } from '../../../src/adapters/graphql/audited-fields.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { newId } from '../../../src/shared/ids.ts';
import { eventually } from '../../support/eventually.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';
import { GraphqlSocket } from '../../support/graphql-socket.ts';

let bench: GraphqlBench;
beforeAll(async () => {
  bench = await startGraphqlBench();
});
afterAll(async () => bench.close());
beforeEach(() => {
  bench.world.audited.length = 0;
});

const deploymentId = (): string => bench.world.deployments[0]!.id;
const stop = 'mutation ($id: ID!) { stopDeployment(input: { deploymentId: $id }) { __typename } }';
const globalId = (kind: string, id: string): string => Buffer.from(`${kind}:${id}`).toString('base64');

describe('mutations', () => {
  it('are all in the table of what is recorded', () => {
    const names = Object.keys(bench.endpoint.graphql.schema.getMutationType()!.getFields());
    expect(names.filter((name) => !Object.hasOwn(auditedMutations, name))).toEqual([]);
  });

  it('are recorded once, with the plain id of what they change, the key, the request and the peer', async () => {
    const { headers } = await bench.ask(stop, { id: globalId('Deployment', deploymentId()) }, bench.world.keyOf('OPERATOR'));
    expect(bench.world.audited).toEqual([
      {
        action: 'deployment.stop',
        actor: bench.world.principals.get(bench.world.keyOf('OPERATOR')),
        target: { kind: 'deployment', id: deploymentId() },
        errorCode: null,
        origin: { requestId: headers.get('x-request-id'), peer: '127.0.0.1' },
      },
    ]);
  });

  it('that make something are recorded with its id', async () => {
    await bench.ask('mutation { startDownload(input: { modelId: "acme/x" }) { __typename } }');
    await bench.ask('mutation { createApiKey(input: { name: "n", owner: "o", role: USER }) { __typename } }');
    expect(bench.world.audited.map(({ action, target }) => ({ action, id: target?.id }))).toEqual([
      { action: 'download.start', id: bench.world.downloads[0]!.id },
      { action: 'key.create', id: '01900000-0000-7000-8000-0000000000aa' },
    ]);
  });

  it('that are refused are recorded with the code: typed refusals, faults, validation and rights', async () => {
    await bench.ask(stop, { id: newId() });
    await bench.ask(stop, { id: deploymentId() }, bench.world.keyOf('USER'));
    await bench.ask('mutation { prioritizeDownload(input: { taskId: "x", priority: 1000 }) { __typename } }');
    const { startDownload } = bench.world;
    bench.world.startDownload = () => Promise.reject(new Error('boom'));
    await bench.ask('mutation { startDownload(input: { modelId: "acme/x" }) { __typename } }');
    bench.world.startDownload = () => Promise.reject(new AppError('OVERLOADED', 'Later.'));
    await bench.ask('mutation { startDownload(input: { modelId: "acme/x" }) { __typename } }');
    bench.world.startDownload = startDownload;
    expect(bench.world.audited.map(({ errorCode }) => errorCode)).toEqual(['DEPLOYMENT_NOT_FOUND', 'FORBIDDEN', 'VALIDATION_FAILED', 'INTERNAL', 'OVERLOADED']);
  });

  it('leave nothing of what was sent beside ids in their records', async () => {
    await bench.ask(stop, { id: 'a-secret-that-was-pasted' });
    await bench.ask('mutation ($c: String!) { importChatSession(input: { content: $c }) { __typename } }', { c: 'a secret text' });
    await bench.ask('mutation { createApiKey(input: { name: "a secret name", owner: "o", role: USER }) { __typename } }');
    expect(bench.world.audited).toHaveLength(3);
    expect(JSON.stringify(bench.world.audited)).not.toContain('secret');
  });
});

describe('refusals outside of mutations', () => {
  it('for want of rights are recorded with the field', async () => {
    await bench.ask('{ apiKeys { name } }', {}, bench.world.keyOf('OPERATOR'));
    const client = await new GraphqlSocket(bench.wsUrl).initialised(bench.world.keyOf('VIEWER'));
    client.subscribe('1', 'subscription { auditLogged { action } }');
    await eventually('two records', () => bench.world.audited.length === 2);
    client.socket.terminate();
    expect(bench.world.audited.map(({ action, target, errorCode, origin }) => ({ action, field: target?.id, errorCode, peer: origin.peer }))).toEqual([
      { action: 'access.authorize', field: 'Query.apiKeys', errorCode: 'FORBIDDEN', peer: '127.0.0.1' },
      { action: 'access.authorize', field: 'Subscription.auditLogged', errorCode: 'FORBIDDEN', peer: '127.0.0.1' },
    ]);
  });

  it('of a bad key are recorded over HTTP, in an upgrade and in the first message, without the key', async () => {
    await bench.ask('{ viewer { role } }', {}, 'llmm_bad');
    const inHeaders = new GraphqlSocket(bench.wsUrl, { headers: { authorization: 'Bearer llmm_bad' } });
    const inMessage = await new GraphqlSocket(bench.wsUrl).opened();
    inMessage.send({ type: 'connection_init', payload: { authorization: 'Bearer llmm_bad' } });
    await inMessage.closed();
    await eventually('three records', () => bench.world.audited.length === 3);
    inHeaders.socket.terminate();
    expect(bench.world.audited.every(({ action, actor, errorCode, origin }) => action === 'access.authenticate' && actor === null && errorCode === 'UNAUTHENTICATED' && origin.peer === '127.0.0.1')).toBe(true);
    expect(JSON.stringify(bench.world.audited)).not.toContain('llmm_bad');
  });

  it('without any key are not recorded', async () => {
    await bench.ask('{ viewer { role } }', {}, null);
    expect(bench.world.audited).toEqual([]);
  });
});
