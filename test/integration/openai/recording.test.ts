import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createGate } from '../../../src/shared/async.ts';
import { isId } from '../../../src/shared/ids.ts';
import { collect, never, principalOf, textOf } from '../../support/chat-world.ts';
import { eventually } from '../../support/eventually.ts';
import { startGatewayBench, type GatewayBench } from '../../support/gateway-bench.ts';
import type { ChatMessageView } from '../../../src/domains/chat/types.ts';

let bench: GatewayBench;
let model: string;
beforeAll(async () => {
  bench = await startGatewayBench();
  model = bench.world.deployment.view.name;
});
afterAll(async () => bench.close());
beforeEach(() => bench.world.server.reset());

const chat = '/v1/chat/completions';
const messages = [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'Hi' }];
const kept = async (sessionId: string): Promise<readonly ChatMessageView[]> => (await bench.world.chat.messages(sessionId, { limit: 20 }, bench.principal)).items;

async function record(body: object, session = 'new'): Promise<{ response: Response; sessionId: string }> {
  const response = await bench.post(chat, { model, messages, ...body }, { 'x-chat-session-id': session });
  return { response, sessionId: response.headers.get('x-chat-session-id') ?? '' };
}

describe('a completion with X-Chat-Session-Id', () => {
  it('is kept in a new session with its question, its figures and the system prompt', async () => {
    const { response, sessionId } = await record({ temperature: 0.5 });
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: 'Hello world' } }] });
    expect(isId(sessionId)).toBe(true);
    const [question, answer] = await eventually('it is stored', async () => {
      const all = await kept(sessionId);
      return all[1]?.status === 'completed' ? all : null;
    });
    expect(question).toMatchObject({ role: 'user', content: 'Hi', parentId: null });
    expect(answer).toMatchObject({ role: 'assistant', content: 'Hello world', parentId: question!.id, parameters: { temperature: 0.5 }, usage: { promptTokens: 7, completionTokens: 2 }, finishReason: 'stop', deploymentId: bench.world.deployment.view.id });
    expect(await bench.world.chat.getSession(sessionId, bench.principal)).toMatchObject({ systemPrompt: 'Be brief.', title: 'Hi' });
  });

  it('is kept as it is streamed, can be followed by others, and keeps the usage that only we asked for to itself', async () => {
    const gate = createGate();
    bench.world.server.script({ tokens: ['a', 'b', 'c'], holdBefore: { index: 2, gate } });
    const { response, sessionId } = await record({ stream: true });
    const answer = await eventually('the answer is there', async () => (await kept(sessionId))[1]);
    const followed = collect(bench.world.chat.stream(answer.id, -1, bench.principal, never));
    gate.open();
    const text = await response.text();
    expect(text).not.toContain('usage');
    expect(text.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(textOf(await followed)).toBe('abc');
    expect((await kept(sessionId))[1]).toMatchObject({ status: 'completed', content: 'abc', usage: { promptTokens: 7, completionTokens: 3 } });
  });

  it('goes on in a session of the caller, and shows the usage to one who asked for it', async () => {
    const { sessionId, response: first } = await record({ stream: true });
    await first.text();
    await eventually('it has ended', async () => (await kept(sessionId))[1]?.status === 'completed');
    const { response, sessionId: again } = await record({ stream: true, stream_options: { include_usage: true } }, sessionId);
    expect(again).toBe(sessionId);
    expect(await response.text()).toContain('"completion_tokens":2');
    const all = await kept(sessionId);
    expect(all.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant']);
    expect(all[2]?.parentId).toBe(all[1]?.id);
  });

  it('keeps the text so far as stopped when the caller leaves', async () => {
    bench.world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: createGate() } });
    const { response, sessionId } = await record({ stream: true });
    const reader = response.body!.getReader();
    let text = '';
    while (!text.includes('"a"')) text += Buffer.from((await reader.read()).value ?? []).toString('utf8');
    await reader.cancel();
    const answer = await eventually('it is stopped', async () => (await kept(sessionId)).find(({ status }) => status === 'stopped'));
    expect(answer).toMatchObject({ content: 'a', finishReason: 'stopped', error: null });
    expect(bench.world.server.active).toBe(0);
  });

  it('can be stopped by its message, and says so to the caller', async () => {
    bench.world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: createGate() } });
    const { response, sessionId } = await record({ stream: true });
    const answer = await eventually('the answer is there', async () => (await kept(sessionId))[1]);
    await eventually('the first piece is there', () => bench.world.tokenStream.has(answer.id));
    expect(await bench.world.chat.stop(answer.id, bench.principal, never)).toMatchObject({ status: 'stopped', content: 'a' });
    expect(await response.text()).toContain('"code":"interrupted"');
  });

  it('is refused for a session of somebody else as for one that does not exist, before an engine is asked', async () => {
    const other = await bench.world.chat.createSession({}, principalOf('somebody else'), never);
    for (const id of [other.id, '01900000-0000-7000-8000-0000000000aa', 'nonsense']) {
      const { response } = await record({}, id);
      expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([404, 'chat_session_not_found']);
    }
    expect(bench.world.server.requests).toEqual([]);
  });

  it('is not kept when the last message is a result of a tool', async () => {
    const tool = [{ role: 'user', content: 'x' }, { role: 'assistant', tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }] }, { role: 'tool', tool_call_id: 'c', content: '1' }];
    const { response } = await record({ messages: tool });
    expect([response.status, response.headers.get('x-chat-session-id')]).toEqual([200, null]);
    await response.body?.cancel();
  });

  it('leaves nothing behind when the engine refuses', async () => {
    const before = await bench.world.chat.listSessions({}, { limit: 1 }, bench.principal);
    bench.world.server.script({ refuse: { status: 400, body: { error: { message: 'no' } } } });
    expect((await record({})).response.status).toBe(400);
    expect((await bench.world.chat.listSessions({}, { limit: 1 }, bench.principal)).total).toBe(before.total);
  });

  it('is kept as what can be stored, and reaches the engine as it was said', async () => {
    const said = [{ role: 'system', content: 'Be\0brief.' }, { role: 'user', content: 'Half \ud83d\0' }];
    const { response, sessionId } = await record({ messages: said, stop: ['\0'] });
    expect(response.status).toBe(200);
    await response.text();
    expect(bench.world.server.requests[0]!.body).toMatchObject({ messages: said, stop: ['\0'] });
    expect((await kept(sessionId)).map(({ content }) => content)).toEqual(['Half \ufffd\ufffd', 'Hello world']);
    expect(await bench.world.chat.getSession(sessionId, bench.principal)).toMatchObject({ systemPrompt: 'Be\ufffdbrief.' });
  });

  it.each([
    ['message', [{ role: 'user', content: 'é'.repeat(600_000) }]],
    ['instruction', [{ role: 'system', content: 'x'.repeat(70_000) }, { role: 'user', content: 'Hi' }]],
  ])('is refused for a longer %s than a session keeps, before an engine is asked', async (_name, long) => {
    const { response } = await record({ messages: long });
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([413, 'payload_too_large']);
    expect(bench.world.server.requests).toEqual([]);
  });

  it('passes every piece on, and keeps the last usage, of an engine that tells the usage with each piece', async () => {
    const usage = (count: number) => ({ usage: { prompt_tokens: 5, completion_tokens: count, total_tokens: 5 + count } });
    const call = { index: 0, id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } };
    const chunks = [{ delta: { role: 'assistant', content: null }, finish_reason: null }, { delta: { tool_calls: [call] }, finish_reason: null }, { delta: {}, finish_reason: 'tool_calls' }];
    const events = [...chunks.map((choice, index) => JSON.stringify({ choices: [{ index: 0, ...choice }], ...usage(index) })), '[DONE]'];
    bench.world.server.script({ answer: { contentType: 'text/event-stream', body: events.map((event) => `data: ${event}\n\n`).join('') } });
    const { response, sessionId } = await record({ stream: true });
    expect((await response.text()).trimEnd().split('\n\n')).toEqual(events.map((event) => `data: ${event}`));
    expect((await kept(sessionId))[1]).toMatchObject({ status: 'completed', usage: { promptTokens: 5, completionTokens: 2 } });
  });

  it('is kept as failed, and the caller is told, when the engine ends in the middle of it', async () => {
    bench.world.server.script({ answer: { contentType: 'text/event-stream', body: 'data: {"choices":[{"delta":{"content":"half"}}]}\n\ndata: {"choices":[{"del' } });
    const { response, sessionId } = await record({ stream: true });
    expect(await response.text()).toMatch(/"half"[^]*\n\ndata: \{"error":\{"message":"The connection to the model server ended before the answer was complete\."/);
    expect((await kept(sessionId))[1]).toMatchObject({ status: 'failed', content: 'half', error: { code: 'RUNTIME_UNAVAILABLE' } });
  });

  it('can be read whatever counts the engine tells', async () => {
    const usage = { choices: [], usage: { prompt_tokens: 2 ** 31, completion_tokens: 1e15, total_tokens: 1e15 } };
    bench.world.server.script({ noUsage: true, inject: { after: 2, raw: `data: ${JSON.stringify(usage)}\n\n` } });
    const { response, sessionId } = await record({ stream: true });
    await response.text();
    expect((await kept(sessionId))[1]!.usage).toMatchObject({ promptTokens: null, completionTokens: 2 });
  });

  it('lets the engine go when the session cannot take it', async () => {
    const { sessionId, response: first } = await record({ stream: true });
    await first.text();
    bench.world.server.fallback({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: createGate() } });
    const writing = await record({ stream: true }, sessionId);
    const { response } = await record({ stream: true }, sessionId);
    expect([response.status, ((await response.json()) as { error: { code: string } }).error.code]).toEqual([409, 'invalid_state']);
    await eventually('one completion is left', () => bench.world.server.active === 1, 1_000);
    await writing.response.body?.cancel();
    await eventually('it has ended', () => bench.world.server.active === 0);
  });
});
