import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { AppError } from '../../../src/shared/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';
import { GraphqlSocket } from '../../support/graphql-socket.ts';

let bench: GraphqlBench;
const open: GraphqlSocket[] = [];

beforeAll(async () => {
  bench = await startGraphqlBench({ initMsMax: 300, operationsMax: 20, socketsMax: 30 });
});
afterAll(async () => bench.close());
afterEach(() => {
  for (const client of open.splice(0)) client.socket.terminate();
});

function connect(options: ConstructorParameters<typeof GraphqlSocket>[1] = {}): GraphqlSocket {
  const client = new GraphqlSocket(bench.wsUrl, options);
  open.push(client);
  return client;
}

const ready = async (): Promise<GraphqlSocket> => await connect().initialised(bench.world.keyOf('ADMIN'));
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const codeOf = (message: { payload?: unknown }): unknown => (message.payload as { extensions: { code: string } }[])[0]?.extensions.code;

describe('connecting', () => {
  it.each([
    ['a bad key in the first message', {}, { type: 'connection_init', payload: { authorization: 'Bearer wrong' } }, 4403],
    ['a bad key in the headers', bearer('wrong'), { type: 'connection_init' }, 4403],
    ['no key', {}, { type: 'connection_init' }, 4403],
    ['a key that is not a bearer', {}, { type: 'connection_init', payload: { authorization: 'Basic x' } }, 4403],
    ['an operation before the first message', {}, { type: 'subscribe', id: '1', payload: { query: '{ viewer { role } }' } }, 4401],
    ['garbage', {}, 'garbage', 4400],
  ])('closes after %s', async (_name, headers, message, code) => {
    const client = await connect({ headers }).opened();
    client.send(message);
    expect(await client.closed()).toBe(code);
  });

  it('closes with 4408 when the first message does not come', async () => {
    expect(await (await connect().opened()).closed()).toBe(4408);
  });

  it('closes with 4429 after a second first message, with 4409 after a second operation of one id', async () => {
    const twice = await ready();
    twice.send({ type: 'connection_init' });
    expect(await twice.closed()).toBe(4429);
    const same = await ready();
    same.subscribe('1', 'subscription { downloadProgress { type } }');
    same.subscribe('1', 'subscription { downloadProgress { type } }');
    expect(await same.closed()).toBe(4409);
  });

  it('closes with 1009 after a frame over 1 MiB', async () => {
    const client = await ready();
    client.send('x'.repeat(1_100_000));
    expect(await client.closed()).toBe(1009);
  });

  it('takes the key of either header', async () => {
    for (const headers of [bearer(bench.world.keyOf('USER')), { 'x-api-key': bench.world.keyOf('USER') }]) {
      const client = await connect({ headers }).opened();
      client.send({ type: 'connection_init' });
      await client.next('connection_ack');
    }
  });

  it('refuses the legacy protocol, a foreign origin, a foreign host and a key in the URL', async () => {
    const legacy = await connect({ protocol: 'graphql-ws' }).closed();
    expect(legacy).not.toBe(1000);
    const foreign = connect({ headers: { origin: 'http://evil.example' } });
    expect(await eventually('a refusal', () => foreign.refusedStatus)).toBe(403);
    const rebound = connect({ headers: { host: 'evil.example' } });
    expect(await eventually('a refusal', () => rebound.refusedStatus)).toBe(403);
    const inUrl = new GraphqlSocket(`${bench.wsUrl}?api_key=x`);
    expect(await eventually('a refusal', () => inUrl.refusedStatus)).toBe(400);
  });

  it('refuses more sockets than it holds with 503', async () => {
    // Each says who it is at once: one that waits too long makes room again.
    const clients = Array.from({ length: 31 }, () => {
      const client = connect();
      client.socket.once('open', () => client.send({ type: 'connection_init', payload: { authorization: `Bearer ${bench.world.keyOf('ADMIN')}` } }));
      return client;
    });
    const refused = await eventually('a refusal', () => clients.find((client) => client.refusedStatus !== null));
    expect(refused.refusedStatus).toBe(503);
  });

  it('closes the sockets of a revoked key within a second, and only those', async () => {
    bench.world.principals.set('short', { keyId: '01900000-0000-7000-8000-0000000000ff', owner: 'x', role: 'USER' });
    const [revoked, other] = [await connect().initialised('short'), await ready()];
    bench.world.principals.delete('short');
    bench.events.publish('access.key_changed', '01900000-0000-7000-8000-0000000000ff', { keyId: '01900000-0000-7000-8000-0000000000ff' });
    expect(await revoked.closed(1000)).toBe(4403);
    expect(other.closeCode).toBeNull();
  });
});

describe('operations on a socket', () => {
  it('runs queries, mutations and subscriptions', async () => {
    const client = await ready();
    client.subscribe('q', '{ viewer { role } }');
    client.subscribe('m', 'mutation { pauseDownload(input: { taskId: "x" }) { ... on UserError { code } } }');
    client.subscribe('s', 'subscription { downloadProgress { type tasks { status } } }');
    await Promise.all(['q', 'm', 's'].map((id) => client.next('complete', id)));
    expect(client.payloads('q')).toEqual([{ data: { viewer: { role: 'ADMIN' } } }]);
    expect(client.payloads('m')).toEqual([{ data: { pauseDownload: { code: 'DOWNLOAD_NOT_FOUND' } } }]);
    expect(client.payloads('s')[0]).toEqual({ data: { downloadProgress: { type: 'SNAPSHOT', tasks: [{ status: 'RUNNING' }, { status: 'COMPLETED' }] } } });
  });

  it.each([
    ['aliases', `{ ${Array.from({ length: 100 }, (_, index) => `a${index}: __typename`).join(' ')} }`],
    ['tokens', `{ ${'viewer { role } '.repeat(600)} }`],
    ['depth', `{ ${'a { '.repeat(5000)} b ${'} '.repeat(5000)} }`],
    ['directives', `{ viewer ${'@include(if: true) '.repeat(6)} { role } }`],
    ['an unknown field', '{ nope }'],
    ['broken text', '{ '],
  ])('refuses %s with VALIDATION_FAILED and keeps the socket', async (_name, query) => {
    const client = await ready();
    client.subscribe('1', query);
    expect(codeOf(await client.next('error', '1'))).toBe('VALIDATION_FAILED');
    client.subscribe('2', '{ viewer { role } }');
    await client.next('complete', '2');
    expect(bench.logger.records).toEqual([]);
  });

  it('refuses what costs too much, subscriptions included', async () => {
    const client = await ready();
    const events = 'deployments { events(first: 100) { nodes { reason } } }';
    client.subscribe('q', `{ models(first: 100) { nodes { ${events} } } }`);
    client.subscribe('s', `subscription { chatSessionUpdated(id: "x") { session { messages(first: 100) { nodes { deployment { events(first: 100) { nodes { reason } } logs(first: 100) { nodes { message level } } } } } } } }`);
    for (const id of ['q', 's']) {
      const [payload] = await eventually('an answer', () => (client.payloads(id).length > 0 ? client.payloads(id) : null));
      expect((payload as { errors: { extensions: unknown }[] }).errors[0]?.extensions).toMatchObject({ code: 'VALIDATION_FAILED', details: { limit: 25_000 } });
    }
  });

  it('refuses operations above the number that one socket may run', async () => {
    bench.world.stream = async function* (messageId, _after, _principal, signal) {
      yield { type: 'start', messageId, deploymentId: null, index: -1 };
      await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
    };
    const client = await ready();
    const query = `subscription { chatStream(messageId: "${bench.world.messages[1]!.id}") { type } }`;
    for (let index = 0; index < 21; index += 1) client.subscribe(String(index), query);
    expect(codeOf(await client.next('error'))).toBe('RATE_LIMITED');
    await eventually('20 run', () => client.messages.filter((message) => message.type === 'next').length === 20);
  });

  it('ends what the client completes, and everything when the client leaves', async () => {
    let running = 0;
    bench.world.stream = async function* (messageId, _after, _principal, signal) {
      running += 1;
      try {
        yield { type: 'start', messageId, deploymentId: null, index: -1 };
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      } finally {
        running -= 1;
      }
    };
    const client = await ready();
    const query = `subscription { chatStream(messageId: "${bench.world.messages[1]!.id}") { type } }`;
    for (const id of ['1', '2', '3']) {
      client.subscribe(id, query);
      await client.next('next', id);
    }
    client.send({ type: 'complete', id: '1' });
    await eventually('one ended', () => running === 2);
    client.socket.terminate();
    await eventually('all ended', () => running === 0);
  });

  it('tells a stream that breaks by an error with a code as its last event, and keeps the socket', async () => {
    bench.world.stream = async function* (messageId) {
      yield { type: 'token', messageId, deploymentId: null, index: 0, text: 'a' };
      throw new AppError('CRASHED', 'The model ended.');
    };
    const client = await ready();
    client.subscribe('1', `subscription { chatStream(messageId: "${bench.world.messages[1]!.id}") { text } }`);
    await client.next('complete', '1');
    expect(client.payloads('1')).toEqual([
      { data: { chatStream: { text: 'a' } } },
      { errors: [expect.objectContaining({ extensions: expect.objectContaining({ code: 'CRASHED' }) })] },
    ]);
    expect(client.closeCode).toBeNull();
  });

  it('answers an unknown message with an error instead of a stream', async () => {
    bench.world.stream = () => {
      throw new AppError('CHAT_MESSAGE_NOT_FOUND', 'None.');
    };
    const client = await ready();
    client.subscribe('1', 'subscription { chatStream(messageId: "x") { type } }');
    await client.next('complete', '1');
    expect(client.payloads('1')).toEqual([{ errors: [expect.objectContaining({ extensions: expect.objectContaining({ code: 'CHAT_MESSAGE_NOT_FOUND' }) })] }]);
  });

  it('passes on where a reader wants to go on', async () => {
    const asked: number[] = [];
    bench.world.stream = async function* (messageId, after) {
      asked.push(after);
      yield { type: 'token', messageId, deploymentId: null, index: after + 1, text: 'x' };
    };
    const client = await ready();
    const query = `subscription ($after: Int) { chatStream(messageId: "${bench.world.messages[1]!.id}", after: $after) { index } }`;
    client.subscribe('1', query);
    client.subscribe('2', query, { after: 41 });
    await Promise.all(['1', '2'].map((id) => client.next('complete', id)));
    expect(asked).toEqual([-1, 41]);
    expect(client.payloads('2')).toEqual([{ data: { chatStream: { index: 42 } } }]);
  });
});
