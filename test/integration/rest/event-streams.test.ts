import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { EventSourceMessage } from 'eventsource-parser';
import { chatStreamObject, logLine } from '../../../src/adapters/rest/response-schemas.ts';
import { createGate } from '../../../src/shared/async.ts';
import { startRestBench, type RestBench } from '../../support/rest-bench.ts';
import { readSse } from '../../support/sse.ts';
import { streamAnswersIn, type StreamedChat } from '../../support/streamed-chat.ts';

let bench: RestBench;
let chat: StreamedChat;

beforeEach(async () => {
  bench = await startRestBench();
  chat = streamAnswersIn(bench.world);
});
afterEach(async () => {
  await bench.close();
});

const session = '01900000-0000-7000-8003-000000000000';
const deployment = '01900000-0000-7000-8002-000000000000';
const deployments = ['01900000-0000-7000-8002-00000000000a', '01900000-0000-7000-8002-00000000000b'];

type Stream = { response: Response; events: AsyncGenerator<EventSourceMessage>; leave: () => void };

async function post(body: object, headers: Record<string, string> = {}): Promise<Stream> {
  const leaving = new AbortController();
  const response = await fetch(`${bench.url}/api/chat/send`, {
    method: 'POST',
    headers: { authorization: `Bearer ${bench.key}`, 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ message: 'hi', stream: true, ...body }),
    signal: leaving.signal,
  });
  return { response, events: readSse(response), leave: () => leaving.abort() };
}

async function take(events: AsyncGenerator<EventSourceMessage>): Promise<{ id: string | undefined; data: Record<string, unknown> }> {
  const result: IteratorResult<EventSourceMessage, unknown> = await events.next();
  if (result.done === true) throw new Error('the stream has ended');
  return { id: result.value.id, data: JSON.parse(result.value.data) as Record<string, unknown> };
}

async function rest(events: AsyncGenerator<EventSourceMessage>): Promise<{ id: string | undefined; data: Record<string, unknown> }[]> {
  const all = [];
  for await (const { id, data } of events) all.push({ id, data: JSON.parse(data) as Record<string, unknown> });
  return all;
}

describe('an answer as events', () => {
  it('sends the objects of the socket, each with its position as id, and ends', async () => {
    const { response, events } = await post({ session_id: session });
    expect([response.status, response.headers.get('content-type'), response.headers.get('api-version')]).toEqual([200, 'text/event-stream; charset=utf-8', '1']);
    expect(response.headers.get('x-chat-session-id')).toBe(session);
    const start = await take(events);
    const { id, deploymentId } = chat.answers[0]!;
    const place = { request_id: response.headers.get('x-request-id'), message_id: id, deployment_id: deploymentId };
    expect(start).toEqual({ id: `${id}:-1`, data: { type: 'start', ...place, index: -1 } });
    await chat.write(id, 'line\nbreak');
    await chat.write(id, '!');
    await chat.end(id);
    const seen = await rest(events);
    expect(seen).toEqual([
      { id: `${id}:0`, data: { type: 'token', ...place, index: 0, text: 'line\nbreak' } },
      { id: `${id}:1`, data: { type: 'token', ...place, index: 1, text: '!' } },
      { id: `${id}:1`, data: { type: 'end', ...place, index: 1, finish_reason: 'stop', usage: expect.anything() } },
    ]);
    for (const { data } of seen) expect(chatStreamObject.parse(data)).toEqual(data);
  });

  it('comes from several deployments side by side', async () => {
    const { events } = await post({ session_id: session, deployment_ids: deployments });
    const starts = [await take(events), await take(events)];
    const [one, two] = chat.answers.map(({ id }) => id);
    expect(starts.map(({ data }) => data['message_id']).sort()).toEqual([one, two].sort());
    await chat.write(one!, 'a');
    expect((await take(events)).id).toBe(`${one!}:0`);
    await chat.write(two!, 'b');
    expect((await take(events)).id).toBe(`${two!}:0`);
    await chat.end(one!);
    await chat.write(two!, 'c');
    await chat.end(two!, { status: 'failed', finishReason: 'error', error: { code: 'CRASHED', message: 'It crashed.' } });
    const seen = await rest(events);
    expect(seen.filter(({ data }) => data['message_id'] === one).map(({ data }) => data['type'])).toEqual(['end']);
    expect(seen.filter(({ data }) => data['message_id'] === two).map(({ data }) => data['type'])).toEqual(['token', 'error', 'end']);
  });

  it('refuses with an ordinary error before its first byte', async () => {
    const unknown = await post({ session_id: deployment });
    expect([unknown.response.status, unknown.response.headers.get('content-type')]).toEqual([404, 'application/json; charset=utf-8']);
    expect(await unknown.response.json()).toMatchObject({ error: { code: 'CHAT_SESSION_NOT_FOUND' } });
    const invalid = await post({ session_id: session, parameters: { top_p: 2 } });
    expect(await invalid.response.json()).toMatchObject({ error: { code: 'VALIDATION_FAILED', details: { fields: [{ field: 'parameters.top_p' }] } } });
  });

  it('is not ended by a reader who leaves', async () => {
    const { events, leave } = await post({ session_id: session });
    await take(events);
    leave();
    await expect(events.next()).rejects.toThrow();
    const { id } = chat.answers[0]!;
    await chat.write(id, 'still here');
    expect(chat.answers[0]!.status).toBe('streaming');
    const again = await post({ session_id: session }, { 'last-event-id': `${id}:-1` });
    expect((await take(again.events)).data['type']).toBe('start');
    expect((await take(again.events)).data).toMatchObject({ type: 'token', index: 0, text: 'still here' });
    again.leave();
  });

  it('ends when its key stops being good', async () => {
    const { events } = await post({ session_id: session });
    await take(events);
    const { keyId } = bench.world.principals.get(bench.key)!;
    bench.world.principals.delete(bench.key);
    bench.events.publish('access.key_changed', keyId, { keyId });
    await expect(events.next()).rejects.toThrow();
  });
});

describe('asking again with Last-Event-ID', () => {
  it('says nothing again, and goes on behind that piece without losing or doubling one', async () => {
    const first = await post({ session_id: session });
    await take(first.events);
    const { id } = chat.answers[0]!;
    for (const text of ['a', 'b', 'c']) await chat.write(id, text);
    await take(first.events);
    const last = await take(first.events);
    first.leave();
    // Ids are the same in capitals.
    const second = await post({ session_id: session }, { 'last-event-id': last.id!.toUpperCase() });
    await chat.write(id, 'd');
    await chat.end(id);
    expect((await rest(second.events)).map(({ id: eventId, data }) => [eventId, data['type'], data['text']])).toEqual([
      [`${id}:1`, 'start', undefined],
      [`${id}:2`, 'token', 'c'],
      [`${id}:3`, 'token', 'd'],
      [`${id}:3`, 'end', undefined],
    ]);
    expect(chat.sent).toBe(1);
  });

  it('brings the other answers to the same message from their start', async () => {
    const first = await post({ session_id: session, deployment_ids: deployments });
    await take(first.events);
    const [one, two] = chat.answers.map(({ id }) => id);
    first.leave();
    for (const id of [one!, two!]) {
      await chat.write(id, 'x');
      await chat.write(id, 'y');
      await chat.end(id);
    }
    const { response, events } = await post({ deployment_ids: deployments }, { 'last-event-id': `${one!}:0` });
    expect(response.headers.get('x-chat-session-id')).toBe(session);
    const seen = await rest(events);
    const texts = (id: string) => seen.filter(({ data }) => data['message_id'] === id && data['type'] === 'token').map(({ data }) => data['text']);
    expect([texts(one!), texts(two!)]).toEqual([['y'], ['x', 'y']]);
    expect(chat.sent).toBe(1);
  });

  it.each([
    ['01900000-0000-7000-8004-0000000000ff:3', 404, 'CHAT_MESSAGE_NOT_FOUND'],
    ['nonsense', 400, 'VALIDATION_FAILED'],
    ['01900000-0000-7000-8004-0000000000ff:', 400, 'VALIDATION_FAILED'],
    ['01900000-0000-7000-8004-0000000000ff:-2', 400, 'VALIDATION_FAILED'],
    ['01900000-0000-7000-8004-0000000000ff:1e3', 400, 'VALIDATION_FAILED'],
  ])('%s is refused', async (last, status, code) => {
    const { response } = await post({ session_id: session }, { 'last-event-id': last });
    expect([response.status, await response.json()]).toMatchObject([status, { error: { code } }]);
    expect(chat.sent).toBe(0);
  });
});

describe('a log that is followed', () => {
  const follow = (query = ''): Promise<Response> => fetch(`${bench.url}/api/deployments/${deployment}/logs?follow=true${query}`, { headers: { authorization: `Bearer ${bench.key}` } });

  it('sends one line an event, and names lines that a slow reader has missed in an event of its own', async () => {
    const response = await follow('&tail=10&level=info&q=x&since=2026-01-01T00:00:00Z');
    const events = [];
    for await (const event of readSse(response)) events.push(event);
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'text/event-stream; charset=utf-8']);
    expect(events.map(({ event }) => event)).toEqual(['dropped', undefined]);
    const line: unknown = JSON.parse(events[1]!.data);
    expect(logLine.parse(line)).toEqual(line);
    expect(line).toMatchObject({ stream: 'stdout', level: 'info', message: 'hello', run: 1 });
    expect(JSON.parse(events[0]!.data)).toEqual({ dropped_lines: 3 });
  });

  it('begins with the tail that was asked for and stays open, until its reader leaves', async () => {
    const given: unknown[] = [];
    const gone = createGate();
    bench.world.services.deployments.followLogs = async function* (_id, options, signal) {
      given.push(options);
      signal.addEventListener('abort', () => gone.open());
      yield { type: 'line', line: { time: '2026-01-01T00:00:00.000Z', stream: 'stdout', level: 'warn', message: 'first', run: 1, cursor: 'c' } };
      await gone.opened;
    };
    const response = await follow('&tail=1000&level=warn&q=x&since=2026-01-01T02:00:00%2B02:00');
    const events = readSse(response);
    expect((await take(events)).data).toMatchObject({ message: 'first', level: 'warn' });
    expect(given).toEqual([{ tail: 1000, level: 'warn', search: 'x', since: new Date('2026-01-01T00:00:00Z') }]);
    await response.body?.cancel().catch(() => undefined);
    await events.return(undefined).catch(() => undefined);
    // Opens when the log is not followed any more.
    await gone.opened;
  });
});
