import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import OpenAI from 'openai';
import type { KeyLimits, Principal } from '../../../src/shared/principal.ts';
import { startChatFront, type ChatFront } from '../../support/chat-front.ts';
import { GraphqlSocket } from '../../support/graphql-socket.ts';
import { openJsonSocket, type JsonSocket } from '../../support/json-socket.ts';

let front: ChatFront;
const sockets: (GraphqlSocket | JsonSocket)[] = [];
beforeAll(async () => {
  front = await startChatFront();
});
afterAll(async () => front.close());
beforeEach(() => front.world.server.reset());
afterEach(() => {
  for (const { socket } of sockets.splice(0)) socket.terminate();
});

const model = (): string => front.world.deployment.view.name;
const deploymentId = (): string => front.world.deployment.view.id;
const messages = [{ role: 'user' as const, content: 'Hi' }];
const limited = (limits: Partial<KeyLimits>): string => front.keyOf('anna', 'USER', { limits: { requestsPerMinute: null, tokensPerDay: null, ...limits } });
const post = (key: string, path: string, body: unknown): Promise<Response> => fetch(`${front.url}${path}`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, body: JSON.stringify(body) });
const graphql = (key: string, query: string): Promise<Response> => post(key, '/graphql', { query });
const complete = (key: string, more: object = {}): Promise<Response> => post(key, '/v1/chat/completions', { model: model(), messages, ...more });
const say = (key: string): Promise<Response> => post(key, '/api/chat/send', { deployment_id: deploymentId(), message: 'Hi' });
const connectGraphql = (key: string): Promise<GraphqlSocket> => new GraphqlSocket(front.wsUrl + '/graphql', { headers: { authorization: `Bearer ${key}` } }).opened();

describe('requests a minute', () => {
  it('beyond the limit are refused on REST, GraphQL and the gateway in the words of each, all counted together', async () => {
    const key = limited({ requestsPerMinute: 3 });
    expect([(await graphql(key, '{ viewer { owner } }')).status, (await front.ask(key, 'GET /api/chat/history/x')).status, (await complete(key)).status]).toEqual([200, 404, 200]);
    const rest = await fetch(`${front.url}/api/deployments/list`, { headers: { authorization: `Bearer ${key}` } });
    expect([rest.status, await rest.json()]).toEqual([429, { error: { code: 'RATE_LIMITED', message: 'This key may send 3 requests a minute.', details: { limit: 3 } } }]);
    const gateway = await complete(key);
    expect([gateway.status, ((await gateway.json()) as { error: object }).error]).toEqual([429, expect.objectContaining({ type: 'rate_limit_error', code: 'rate_limit_exceeded' })]);
    const ofGraphql = await graphql(key, '{ viewer { owner } }');
    const { errors } = (await ofGraphql.json()) as { errors: { extensions: Record<string, unknown> }[] };
    expect([ofGraphql.status, errors[0]!.extensions]).toEqual([429, expect.objectContaining({ code: 'RATE_LIMITED', details: { limit: 3 }, requestId: ofGraphql.headers.get('x-request-id') })]);
    for (const response of [rest, gateway, ofGraphql]) {
      const seconds = Number(response.headers.get('retry-after'));
      expect(seconds).toBeGreaterThan(0);
      expect(seconds).toBeLessThanOrEqual(60);
    }
    expect(errors[0]!.extensions['retryAfterSeconds']).toBe(Number(ofGraphql.headers.get('retry-after')));
    expect((await front.ask(front.keyOf('anna'), 'GET /api/deployments/list')).status).toBe(200);
  });

  it('count each operation of a WebSocket, and the socket goes on', async () => {
    const key = limited({ requestsPerMinute: 3 });
    const client = await connectGraphql(key);
    sockets.push(client);
    client.send({ type: 'connection_init' });
    await client.next('connection_ack');
    for (const id of ['1', '2', '3']) client.subscribe(id, '{ viewer { owner } }');
    for (const id of ['1', '2']) await client.next('complete', id);
    const { payload } = await client.next('error', '3');
    expect(payload).toEqual([expect.objectContaining({ extensions: expect.objectContaining({ code: 'RATE_LIMITED', retryAfterSeconds: expect.any(Number) }) })]);
    expect(client.closeCode).toBeNull();
    await expect(connectGraphql(key)).rejects.toThrow('refused with 429');
  });

  it('count each message of /ws/chat/stream', async () => {
    const socket = await openJsonSocket(`${front.wsUrl}/ws/chat/stream`, { authorization: `Bearer ${limited({ requestsPerMinute: 2 })}` });
    sockets.push(socket);
    for (const request_id of ['r1', 'r2']) socket.send({ type: 'stop', request_id, message_id: '01900000-0000-7000-8003-000000000000' });
    const codes = [await socket.next(), await socket.next()].map(({ error }) => (error as { code: string }).code);
    // The upgrade was the first request of the two. What is refused may be told before what is looked up.
    expect(codes.toSorted()).toEqual(['CHAT_MESSAGE_NOT_FOUND', 'RATE_LIMITED']);
  });
});

describe('tokens a day', () => {
  it('of chat and gateway count together: what is over is refused on every door, before an engine is asked', async () => {
    const key = limited({ tokensPerDay: 20 });
    // Each answer of the engine says 7 of prompt and 2 of answer.
    expect((await say(key)).status).toBe(200);
    expect((await complete(key)).status).toBe(200);
    const streamed = await complete(key, { stream: true });
    expect(streamed.status).toBe(200);
    await streamed.text();
    front.world.server.requests.length = 0;
    const rest = await say(key);
    expect([rest.status, ((await rest.json()) as { error: object }).error]).toEqual([429, expect.objectContaining({ code: 'QUOTA_EXCEEDED', details: { limit: 20, used: 27 } })]);
    const gateway = await complete(key);
    expect([gateway.status, ((await gateway.json()) as { error: object }).error]).toEqual([429, expect.objectContaining({ type: 'rate_limit_error', code: 'insufficient_quota' })]);
    const ofGraphql = (await (await graphql(key, `mutation { sendChatMessage(input: { deploymentIds: ["${deploymentId()}"], message: "Hi" }) { __typename } }`)).json()) as { errors: { extensions: object }[] };
    expect(ofGraphql.errors[0]!.extensions).toMatchObject({ code: 'QUOTA_EXCEEDED', retryAfterSeconds: expect.any(Number) });
    for (const response of [rest, gateway]) expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(front.world.server.requests).toEqual([]);
    // What was said before may be read all the same.
    expect((await graphql(key, '{ chatSessions { nodes { title } } }')).status).toBe(200);
  });

  it("leave a stream as it is: the official client reads it, and gets the usage when it asks for it alone", async () => {
    const client = new OpenAI({ apiKey: limited({ tokensPerDay: 1_000 }), baseURL: `${front.url}/v1`, maxRetries: 0 });
    const read = async (more: object): Promise<{ text: string; usage: number | undefined; chunks: number }> => {
      let [text, usage, chunks] = ['', undefined as number | undefined, 0];
      for await (const chunk of await client.chat.completions.create({ model: model(), messages, stream: true, ...more })) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage = chunk.usage?.total_tokens ?? usage;
        chunks += 1;
      }
      return { text, usage, chunks };
    };
    expect(await read({})).toMatchObject({ text: 'Hello world', usage: undefined });
    expect(await read({ stream_options: { include_usage: true } })).toMatchObject({ text: 'Hello world', usage: 9 });
    expect(front.world.server.requests.map(({ body }) => body['stream_options'])).toEqual([{ include_usage: true }, { include_usage: true }]);
  });

  it('are counted by pieces where an engine tells no usage, and of embeddings', async () => {
    const used = async (key: string): Promise<number> => await front.world.database.em().execute<{ tokens: string }[]>('select tokens from token_usage where key_id = ?', [front.principal(key).keyId]).then(([row]) => Number(row?.tokens ?? 0));
    const [silent, embedding, cut] = [limited({ tokensPerDay: 100 }), limited({ tokensPerDay: 100 }), limited({ tokensPerDay: 100 })];
    front.world.server.script({ noUsage: true, tokens: ['a', 'b', 'c'] });
    await (await complete(silent, { stream: true })).text();
    expect(await used(silent)).toBeGreaterThanOrEqual(3);
    front.world.server.script({ answer: { contentType: 'application/json', body: JSON.stringify({ object: 'list', data: [], usage: { prompt_tokens: 11, total_tokens: 11 } }) } });
    expect((await post(embedding, '/v1/embeddings', { model: model(), input: 'text' })).status).toBe(200);
    expect(await used(embedding)).toBe(11);
    front.world.server.script({ cutAfter: 2, tokens: ['a', 'b', 'c'] });
    await (await complete(cut, { stream: true })).text().catch(() => '');
    expect(await used(cut)).toBe(2);
  });

  it('of keys without a limit are not counted, and their streams come as the engine sends them', async () => {
    await (await complete(front.keyOf('anna'), { stream: true })).text();
    expect(front.world.server.requests[0]!.body['stream_options']).toBeUndefined();
  });
});

describe('a key for certain deployments', () => {
  const other: Partial<Principal> = { allowedDeployments: ['01900000-0000-7000-8002-0000000000ff'] };

  it('talks to these, and to no other one through any door', async () => {
    const mine = front.keyOf('carl', 'USER', { allowedDeployments: [deploymentId()] });
    const narrow = front.keyOf('carl', 'USER', other);
    expect((await complete(mine)).status).toBe(200);
    const said = (await (await say(mine)).json()) as { session_id: string; messages: { message_id: string }[] };
    const gateway = await complete(narrow);
    expect([gateway.status, ((await gateway.json()) as { error: { code: string } }).error.code]).toEqual([404, 'model_not_found']);
    expect((await front.ask(narrow, `GET /v1/models/${model()}`)).status).toBe(404);
    expect((await front.ask(narrow, 'GET /v1/models')).body).toEqual({ object: 'list', data: [] });
    expect((await front.ask(mine, 'GET /v1/models')).body).toMatchObject({ data: [{ id: model() }] });
    const attempts: [string, unknown][] = [
      ['/api/chat/send', { deployment_id: deploymentId(), message: 'Hi' }],
      ['/api/chat/send', { session_id: said.session_id, message: 'Hi' }],
      ['/api/chat/sessions/create', { deployment_id: deploymentId() }],
    ];
    for (const [path, body] of attempts) expect([path, (await front.ask(narrow, `POST ${path as '/'}`, body)).body]).toEqual([path, { error: expect.objectContaining({ code: 'DEPLOYMENT_NOT_FOUND' }) }]);
    const [question, answer] = said.messages;
    const again = [`regenerateChatMessage(input: { messageId: "${answer!.message_id}" })`, `editChatMessage(input: { messageId: "${question!.message_id}", message: "Ho" })`];
    for (const mutation of again) expect(await (await graphql(narrow, `mutation { r: ${mutation} { __typename } }`)).json()).toEqual({ data: { r: { __typename: 'NotFoundError' } } });
  });
});

describe('a key with scopes', () => {
  it('uses the gateway with chat alone, exports with chat alone, and lists models with either', async () => {
    const chat = front.keyOf('dora', 'USER', { scopes: ['chat'] });
    const reader = front.keyOf('dora', 'USER', { scopes: ['deployments:read'] });
    const neither = front.keyOf('dora', 'USER', { scopes: ['models:read'] });
    expect((await complete(chat)).status).toBe(200);
    const refused = await complete(reader);
    expect([refused.status, ((await refused.json()) as { error: object }).error]).toEqual([403, expect.objectContaining({ code: 'forbidden', message: 'This needs a key with the scope chat.' })]);
    expect([(await front.ask(chat, 'GET /v1/models')).status, (await front.ask(reader, 'GET /v1/models')).status, (await front.ask(neither, 'GET /v1/models')).status]).toEqual([200, 200, 403]);
    const said = (await (await say(chat)).json()) as { session_id: string };
    const path = `POST /api/chat/export/${said.session_id}` as const;
    expect([(await front.ask(chat, path, { format: 'text' })).status, (await front.ask(reader, path, { format: 'text' })).status]).toEqual([200, 403]);
    expect((await front.ask(reader, `GET /api/chat/history/${said.session_id}`)).status).toBe(403);
  });
});
