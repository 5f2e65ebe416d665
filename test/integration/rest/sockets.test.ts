import { request } from 'node:http';
import { json } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { eventually } from '../../support/eventually.ts';
import { openJsonSocket, type JsonSocket, type SocketMessage } from '../../support/json-socket.ts';
import { startRestBench, type RestBench } from '../../support/rest-bench.ts';
import { streamAnswersIn, type StreamedChat } from '../../support/streamed-chat.ts';

let bench: RestBench;
let chat: StreamedChat;
let open: JsonSocket[];

beforeEach(async () => {
  bench = await startRestBench();
  chat = streamAnswersIn(bench.world);
  open = [];
});
afterEach(async () => {
  for (const { socket } of open) socket.terminate();
  await bench.close();
});

async function connect(path: string, headers: Record<string, string> = { authorization: `Bearer ${bench.key}` }): Promise<JsonSocket> {
  const socket = await openJsonSocket(`${bench.wsUrl}${path}`, headers);
  open.push(socket);
  return socket;
}

const task = '01900000-0000-7000-8001-000000000000';
const session = '01900000-0000-7000-8003-000000000000';
const deployments = ['01900000-0000-7000-8002-00000000000a', '01900000-0000-7000-8002-00000000000b'];
const say = (more: object = {}): object => ({ type: 'send', request_id: 'r1', session_id: session, message: 'hi', ...more });

describe('opening a socket', () => {
  it.each([
    ['/ws/nothing', {}, '404', 'ROUTE_NOT_FOUND'],
    ['/ws/chat/stream?key=x', {}, '400', 'VALIDATION_FAILED'],
    ['/ws/chat/stream?task_id=x', {}, '400', 'VALIDATION_FAILED'],
    ['/ws/download-progress?task=x', {}, '400', 'VALIDATION_FAILED'],
    ['/ws/download-progress?task_id=x&task_id=y', {}, '400', 'VALIDATION_FAILED'],
    ['/ws/download-progress?task_id=nope', {}, '404', 'DOWNLOAD_NOT_FOUND'],
    ['/ws/chat/stream', { authorization: 'Bearer llmm_wrong' }, '401', 'UNAUTHENTICATED'],
    ['/ws/chat/stream', { authorization: '', 'x-api-key': 'llmm_wrong' }, '401', 'UNAUTHENTICATED'],
    ['/ws/chat/stream', { origin: 'http://evil.example' }, '403', 'ORIGIN_NOT_ALLOWED'],
    ['/ws/chat/stream', { host: 'evil.example' }, '403', 'ORIGIN_NOT_ALLOWED'],
  ])('%s with %j is refused before the upgrade', async (path, headers, status, code) => {
    const good = { authorization: `Bearer ${bench.key}` };
    await expect(connect(path, { ...good, ...headers })).rejects.toThrow(new RegExp(`refused: ${status} .*"code":"${code}"`));
  });

  it("is answered with the caller's own request id, whatever the answer is", async () => {
    const idOf = async (path: string, more: Record<string, string> = {}): Promise<unknown> => {
      const headers = { 'x-request-id': 'mine-1', authorization: `Bearer ${bench.key}`, connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==', ...more };
      const { promise, resolve, reject } = Promise.withResolvers<unknown>();
      const req = request(`${bench.url}${path}`, { headers });
      req.once('upgrade', (res, socket) => {
        socket.destroy();
        resolve([res.statusCode, res.headers['x-request-id']]);
      });
      req.once('response', (res) => void json(res).then((body) => resolve([res.statusCode, res.headers['x-request-id'], (body as { error: { code: string } }).error.code]), reject));
      req.once('error', reject).end();
      return await promise;
    };
    expect(await idOf('/ws/chat/stream')).toEqual([101, 'mine-1']);
    expect(await idOf('/ws/nothing')).toEqual([404, 'mine-1', 'ROUTE_NOT_FOUND']);
    expect(await idOf('/nothing')).toEqual([404, 'mine-1', 'ROUTE_NOT_FOUND']);
    expect(await idOf('/ws/chat/stream', { 'sec-websocket-key': 'x' })).toEqual([400, 'mine-1', 'VALIDATION_FAILED']);
  });

  it('works with a key in either header, and with one in the first message', async () => {
    for (const headers of [{ authorization: `Bearer ${bench.key}` }, { 'x-api-key': bench.key }]) {
      const socket = await connect('/ws/download-progress', headers);
      expect((await socket.next()).type).toBe('snapshot');
    }
    const browser = await connect('/ws/download-progress', {});
    browser.send({ type: 'auth', key: bench.key });
    expect((await browser.next()).type).toBe('snapshot');
  });

  it('takes what a browser sends right behind its key', async () => {
    const socket = await connect('/ws/chat/stream', {});
    socket.send({ type: 'auth', key: bench.key });
    socket.send(say());
    expect(await socket.next()).toMatchObject({ type: 'start', request_id: 'r1' });
  });

  it.each([[{ type: 'auth', key: 'llmm_wrong' }], [{ type: 'auth' }], [{ type: 'send', key: 'llmm_admin' }]])('is closed with 4401 after %j', async (first) => {
    const socket = await connect('/ws/chat/stream', {});
    socket.send(first);
    socket.send(say());
    expect((await socket.closed).code).toBe(4401);
    expect(chat.sent).toBe(0);
  });

  it.each([['{'], [Buffer.from([1, 2])], ['[]']])('is closed with 4400 when the first message is no JSON object: %j', async (first) => {
    const socket = await connect('/ws/chat/stream', {});
    socket.send(first);
    expect((await socket.closed).code).toBe(4400);
  });

  it('hears of an unknown task after its key, and is closed', async () => {
    const socket = await connect('/ws/download-progress?task_id=nope', {});
    socket.send({ type: 'auth', key: bench.key });
    expect(await socket.next()).toMatchObject({ type: 'error', error: { code: 'DOWNLOAD_NOT_FOUND' } });
    expect(await socket.closed).toEqual({ code: 4404, reason: 'DOWNLOAD_NOT_FOUND' });
  });

  it('ends within moments of its key being revoked, others stay', async () => {
    const mine = await connect('/ws/chat/stream');
    const other = await connect('/ws/chat/stream', { authorization: `Bearer ${bench.world.keyOf('USER')}` });
    const { keyId } = bench.world.principals.get(bench.key)!;
    bench.world.principals.delete(bench.key);
    bench.events.publish('access.key_changed', keyId, { keyId });
    expect((await mine.closed).code).toBe(4403);
    other.send(say());
    expect((await other.next()).type).toBe('start');
  });
});

describe('/ws/download-progress', () => {
  it('sends the present state, then what changes, in the words of REST', async () => {
    const socket = await connect('/ws/download-progress');
    const [snapshot, ...news] = await socket.until(({ type, task: one }) => type === 'progress' && (one as { task_id: string }).task_id !== task);
    expect(snapshot).toMatchObject({ type: 'snapshot', tasks: [{ task_id: task, status: 'running', total_bytes: 5_000_000_000 }, { status: 'completed' }] });
    expect(news[0]).toMatchObject({ type: 'progress', task: { task_id: task, downloaded_bytes: 101 } });
  });

  it('follows one task, and ends when that is gone', async () => {
    const socket = await connect(`/ws/download-progress?task_id=${task}`);
    expect(await socket.next()).toMatchObject({ type: 'snapshot', tasks: [{ task_id: task }] });
    expect(await socket.next()).toMatchObject({ type: 'progress', task: { task_id: task } });
    expect((await socket.closed).code).toBe(1000);
  });
});

describe('/ws/chat/stream', () => {
  it('sends each piece with its position, then the end with what it took', async () => {
    const socket = await connect('/ws/chat/stream');
    socket.send(say());
    const start = await socket.next();
    const { id, deploymentId } = chat.answers[0]!;
    const place = { request_id: 'r1', message_id: id, deployment_id: deploymentId };
    expect(start).toEqual({ type: 'start', ...place, index: -1 });
    for (const text of ['Hel', 'lo']) await chat.write(id, text);
    await chat.end(id);
    expect(await socket.until(({ type }) => type === 'end')).toEqual([
      { type: 'token', ...place, index: 0, text: 'Hel' },
      { type: 'token', ...place, index: 1, text: 'lo' },
      { type: 'end', ...place, index: 1, finish_reason: 'stop', usage: { prompt_tokens: 1, completion_tokens: 2, time_to_first_token_ms: 3, tokens_per_second: 4, messages_left_out: 5 } },
    ]);
  });

  it('follows several answers and several requests side by side', async () => {
    const socket = await connect('/ws/chat/stream');
    socket.send(say({ deployment_ids: deployments }));
    await socket.until(() => chat.answers.length === 2);
    await socket.next();
    socket.send(say({ request_id: 'r2' }));
    expect(await socket.next()).toMatchObject({ type: 'start', request_id: 'r2' });
    for (const { id } of [...chat.answers].reverse()) await chat.write(id, id);
    const tokens = [await socket.next(), await socket.next(), await socket.next()];
    expect(new Set(tokens.map(({ message_id: id, text }) => (id === text ? id : null)))).toEqual(new Set(chat.answers.map(({ id }) => id)));
    expect(tokens.filter(({ request_id: id }) => id === 'r1').map(({ deployment_id: id }) => id).sort()).toEqual(deployments);
  });

  it('loses and doubles nothing for a reader that drops and resumes after any piece', async () => {
    const first = await connect('/ws/chat/stream');
    first.send(say());
    await first.next();
    const { id } = chat.answers[0]!;
    const pieces = Array.from({ length: 20 }, (_, index) => `piece ${index} `);
    let written = 0;
    const got: unknown[] = [];
    for (let after = -1; after < 19; after += 4) {
      for (; written < Math.min(20, after + 8); written += 1) await chat.write(id, pieces[written]!);
      const reader = await connect('/ws/chat/stream');
      reader.send({ type: 'resume', message_id: id, ...(after >= 0 && { after }) });
      expect(await reader.next()).toEqual({ type: 'start', request_id: null, message_id: id, deployment_id: chat.answers[0]!.deploymentId, index: after });
      const seen = await reader.until(({ index }) => index === Math.min(19, after + 4));
      got.push(...seen.map(({ text }) => text));
      reader.socket.terminate();
    }
    await chat.end(id);
    expect(got).toEqual(pieces);
    const late = await connect('/ws/chat/stream');
    late.send({ type: 'resume', message_id: id, after: 19, request_id: 'late' });
    expect(await late.until(({ type }) => type === 'end')).toMatchObject([{ type: 'start', index: 19 }, { type: 'end', index: 19, request_id: 'late' }]);
  });

  it('stops an answer, whose readers all hear of it', async () => {
    const [one, two] = [await connect('/ws/chat/stream'), await connect('/ws/chat/stream')];
    one.send(say());
    await one.next();
    const { id } = chat.answers[0]!;
    two.send({ type: 'stop', message_id: id });
    expect(await one.next()).toMatchObject({ type: 'end', message_id: id, finish_reason: 'stopped', index: -1 });
  });

  it('tells a failure as an error, then ends', async () => {
    const socket = await connect('/ws/chat/stream');
    socket.send(say());
    await socket.next();
    const { id } = chat.answers[0]!;
    await chat.write(id, 'par');
    await chat.end(id, { status: 'failed', finishReason: 'error', error: { code: 'CRASHED', message: 'It crashed.' }, usage: null });
    expect(await socket.until(({ type }) => type === 'end')).toMatchObject([
      { type: 'token', index: 0 },
      { type: 'error', message_id: id, index: 0, request_id: 'r1', error: { code: 'CRASHED', message: 'It crashed.' } },
      { type: 'end', message_id: id, index: 0, finish_reason: 'error', usage: null },
    ]);
  });

  it.each([
    [{ type: 'shout' }, 'type'],
    [{}, 'type'],
    [{ type: 'send', request_id: 'r1', session_id: session }, 'message'],
    [{ type: 'send', request_id: 'r1', session_id: session, message: 'x', extra: 1 }, 'extra'],
    [{ type: 'send', request_id: 'r1', session_id: session, message: 'x', parameters: { temperature: 9 } }, 'parameters.temperature'],
    [{ type: 'send', session_id: session, message: 'x' }, 'request_id'],
    [{ type: 'resume', message_id: 'x', after: 1.5 }, 'after'],
    [{ type: 'resume', message_id: 'x', after: -2 }, 'after'],
    [{ type: 'stop' }, 'message_id'],
  ])('refuses %j, names the field and stays open', async (message, field) => {
    const socket = await connect('/ws/chat/stream');
    socket.send(message);
    const answer = await socket.next();
    expect(answer).toMatchObject({ type: 'error', error: { code: 'VALIDATION_FAILED', details: { fields: [{ field }] } } });
    expect(answer['request_id']).toBe('request_id' in message ? message.request_id : undefined);
    socket.send(say());
    expect((await socket.next()).type).toBe('start');
  });

  it.each([
    [{ type: 'resume', message_id: 'nope' }, 'CHAT_MESSAGE_NOT_FOUND'],
    [{ type: 'resume', message_id: session, request_id: 'r9' }, 'CHAT_MESSAGE_NOT_FOUND'],
    [{ type: 'stop', message_id: 'nope' }, 'CHAT_MESSAGE_NOT_FOUND'],
    [{ type: 'send', request_id: 'r9', session_id: 'nope', message: 'x' }, 'CHAT_SESSION_NOT_FOUND'],
  ])('answers %j with %s', async (message, code) => {
    const socket = await connect('/ws/chat/stream');
    socket.send(message);
    const { request_id: requestId, message_id: messageId } = message as { request_id?: string; message_id?: string };
    expect(await socket.next()).toMatchObject({ type: 'error', ...(requestId && { request_id: requestId }), ...(messageId && { message_id: messageId }), error: { code } });
  });

  it('lets nobody say more than their role allows', async () => {
    const socket = await connect('/ws/chat/stream', { authorization: `Bearer ${bench.world.keyOf('VIEWER')}` });
    socket.send(say());
    expect(await socket.next()).toMatchObject({ type: 'error', request_id: 'r1', error: { code: 'FORBIDDEN' } });
  });

  it('follows a bounded number of answers at once, and more when some have ended', async () => {
    const socket = await connect('/ws/chat/stream');
    for (let index = 0; index < 40; index += 1) socket.send(say({ request_id: `r${index}` }));
    const answers: SocketMessage[] = [];
    while (answers.length < 40) answers.push(await socket.next());
    expect(answers.filter(({ type }) => type === 'start')).toHaveLength(32);
    expect(answers.filter(({ type }) => type === 'error')).toHaveLength(8);
    expect(answers.find(({ type }) => type === 'error')).toMatchObject({ error: { code: 'OVERLOADED' } });
    await chat.end(chat.answers[0]!.id);
    expect((await socket.next()).type).toBe('end');
    await eventually('a place has become free', async () => {
      socket.send(say({ request_id: 'again' }));
      return (await socket.next()).type === 'start';
    });
  });

  it('cuts a client that sends messages faster than they can be handled, or one that is too large', async () => {
    const flood = await connect('/ws/chat/stream');
    bench.world.services.chat.send = () => new Promise(() => {});
    for (let index = 0; index < 100; index += 1) flood.send(say({ request_id: `r${index}` }));
    expect([1008, 1005]).toContain((await flood.closed).code);
    const large = await connect('/ws/chat/stream');
    large.send(say({ message: 'x'.repeat(1024 * 1024) }));
    expect((await large.closed).code).toBe(1009);
  });

  it('leaves an answer alone when its reader goes', async () => {
    const socket = await connect('/ws/chat/stream');
    socket.send(say());
    await socket.next();
    await socket.end();
    const { id } = chat.answers[0]!;
    await chat.write(id, 'on');
    expect(chat.answers[0]!.status).toBe('streaming');
    const again = await connect('/ws/chat/stream');
    again.send({ type: 'resume', message_id: id });
    expect(await again.until(({ type }) => type === 'token')).toMatchObject([{ type: 'start' }, { type: 'token', text: 'on' }]);
  });

  it('closes with 1001 when the service goes', async () => {
    const socket = await connect('/ws/chat/stream');
    await bench.close();
    expect((await socket.closed).code).toBe(1001);
    bench = await startRestBench();
  });
});
