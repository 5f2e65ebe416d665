import { connect } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createGate } from '../../../src/shared/async.ts';
import { eventually } from '../../support/eventually.ts';
import { startGatewayBench, type GatewayBench } from '../../support/gateway-bench.ts';

let bench: GatewayBench;
let model: string;
beforeAll(async () => {
  bench = await startGatewayBench({ limits: { relayBusyWaitMs: 0, generationsMax: 4 } }, { stalledMsMax: 300 });
  model = bench.world.deployment.view.name;
});
afterAll(async () => bench.close());
beforeEach(() => bench.world.server.reset());

const messages = [{ role: 'user', content: 'Hi' }];
const chat = '/v1/chat/completions';
type ErrorBody = { error: { message: string; type: string; param: string | null; code: string } };
const errorOf = async (response: Response): Promise<ErrorBody['error'] & { status: number }> => ({ status: response.status, ...((await response.json()) as ErrorBody).error });

describe('a seed', () => {
  it.each([[-1, undefined], [null, undefined], [0, 0], [2_147_483_647, 2_147_483_647]])('of %j reaches the engine as %j', async (seed, passed) => {
    expect((await bench.post(chat, { model, messages, seed })).status).toBe(200);
    expect(bench.world.server.requests[0]!.body['seed']).toBe(passed);
  });

  it.each([-2, 2_147_483_648, 1.5])('of %j is refused', async (seed) => {
    expect(await errorOf(await bench.post(chat, { model, messages, seed }))).toMatchObject({ status: 400, param: 'seed' });
  });
});

describe('an error of the gateway', () => {
  it.each([
    ['no key', () => fetch(`${bench.url}/v1/models`), { status: 401, type: 'authentication_error', code: 'invalid_api_key' }],
    ['a foreign page', () => fetch(`${bench.url}/v1/models`, { headers: { origin: 'https://evil.example' } }), { status: 403, type: 'permission_error', code: 'origin_not_allowed' }],
    ['a role that may not', () => bench.post(chat, { model, messages }, { authorization: `Bearer ${bench.keyOf('eve', 'VIEWER')}` }), { status: 403, code: 'forbidden' }],
    ['an unknown route', () => bench.post('/v1/images/generations', {}), { status: 404, code: 'route_not_found' }],
    ['a wrong method', () => bench.post('/v1/models', {}), { status: 405, code: 'method_not_allowed' }],
    ['an unknown model', () => bench.post(chat, { model: 'none', messages }), { status: 404, code: 'model_not_found' }],
    ['a wrong field', () => bench.post(chat, { model, messages, top_p: -1 }), { status: 400, type: 'invalid_request_error', param: 'top_p', code: 'invalid_value' }],
    ['no JSON', () => bench.post(chat, '{"model":'), { status: 400, code: 'invalid_value' }],
    ['another content type', () => bench.post(chat, '{}', { 'content-type': 'text/plain' }), { status: 415 }],
    ['a body too large', () => bench.post(chat, { model, messages: [{ role: 'user', content: 'x'.repeat(33 * 1024 * 1024) }] }), { status: 413, code: 'payload_too_large' }],
    ['a field whose meaning would be lost', () => bench.post(chat, { model, messages, functions: [{ name: 'f' }] }), { status: 400, param: 'functions' }],
    ['a picture at an address', () => bench.post(chat, { model, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'http://169.254.169.254/' } }] }] }), { status: 400 }],
    ['a key in the URL', () => bench.post(`${chat}?api_key=x`, { model, messages }), { status: 400 }],
  ])('has OpenAI\'s shape for %s', async (_name, ask, expected) => {
    const response = await ask();
    expect(response.headers.get('content-type')).toContain('application/json');
    expect(await errorOf(response)).toMatchObject({ message: expect.any(String), type: expect.any(String), ...expected });
    expect(bench.world.server.requests).toEqual([]);
  });

  it.each(['top_k', 'max_tokens', 'seed', 'n', 'temperature', 'top_p', 'min_p', 'presence_penalty', 'frequency_penalty', 'repeat_penalty', 'top_logprobs'])('refuses every number that is out of range in %s before an engine sees it', async (field) => {
    for (const value of ['-3', '2147483648', '9007199254740992', '1e999', '-1e999', '"1"', '{}', '[1]', 'true']) {
      const response = await bench.post(chat, `{"model":"${model}","messages":[{"role":"user","content":"x"}],"${field}":${value}}`);
      expect([value, response.status]).toEqual([value, 400]);
      await response.body?.cancel();
    }
    expect(bench.world.server.requests).toEqual([]);
  });

  it('passes on why an engine refuses, and when to come again if it is busy', async () => {
    bench.world.server.script({ refuse: { status: 400, body: { error: { message: 'tools: this engine does not support it.', code: 'unsupported_parameter' } } } });
    const refused = await errorOf(await bench.post(chat, { model, messages }));
    expect(refused).toMatchObject({ status: 400, type: 'invalid_request_error' });
    expect(refused.message).toContain('tools: this engine does not support it.');
    bench.world.server.script({ refuse: { status: 503, body: { error: { message: 'full' } }, headers: { 'retry-after': '1' } } });
    const busy = await bench.post(chat, { model, messages });
    expect([busy.status, Number(busy.headers.get('retry-after')) > 0]).toEqual([503, true]);
    expect(await errorOf(busy)).toMatchObject({ code: 'overloaded', type: 'server_error' });
  });

  it('says of an engine without embeddings that it makes none', async () => {
    bench.world.server.script({ refuse: { status: 404, body: { error: { message: 'There is no such route.', code: 'not_found' } } } });
    const refused = await errorOf(await bench.post('/v1/embeddings', { model, input: 'x' }));
    expect(refused).toMatchObject({ status: 400, param: 'model', message: 'The engine of this model makes no embeddings.' });
  });

  it('does not let a page of a web server pass for an answer', async () => {
    bench.world.server.script({ answer: { contentType: 'text/html', body: '<script>alert(1)</script>' } });
    const response = await bench.post(chat, { model, messages });
    expect(response.status).toBe(502);
    expect(await response.text()).not.toContain('script');
  });
});

describe('a request to the gateway', () => {
  it('is taken with X-API-Key as well', async () => {
    const response = await fetch(`${bench.url}/v1/models`, { headers: { 'x-api-key': bench.keyOf('bob', 'VIEWER') } });
    expect(response.status).toBe(200);
  });

  it('reaches the engine with known fields only, and the caller is told which were left out', async () => {
    const response = await bench.post(chat, { model, messages, user: 'u', metadata: { a: '1' }, n_discard: -5, cache_prompt: true, temperature: null });
    expect(response.headers.get('x-ignored-fields')).toBe('user, metadata, n_discard, cache_prompt');
    expect(bench.world.server.requests[0]!.body).toEqual({ model: bench.world.deployment.target.model, messages });
    await response.body?.cancel();
  });

  it('gets the bytes of the engine as they are', async () => {
    const raw = 'data: {"strange" :  1,"choices":[{"delta":{"content":"\\u00e9"}}]}\n\n: a comment\n\ndata: [DONE]\n\n';
    bench.world.server.script({ answer: { contentType: 'text/event-stream; charset=utf-8', body: raw } });
    const response = await bench.post(chat, { model, messages, stream: true });
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(await response.text()).toBe(raw);
  });

  it('never gets half an event, however the engine cuts them', async () => {
    const half = 'data: {"choices":[{"delta":{"content":"half';
    bench.world.server.script({ tokens: ['a', 'b'], inject: { after: 1, raw: half }, cutAfter: 1 });
    const text = await (await bench.post(chat, { model, messages, stream: true })).text();
    const events = text.trimEnd().split('\n\n').map((event) => JSON.parse(event.slice('data: '.length)) as { error?: unknown });
    expect(events.at(-1)?.error).toMatchObject({ type: 'server_error', code: 'network_failed' });
  });

  it.each([
    ['within an event', 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', 'data: {"choices":[{"delta":{"content":"half', true],
    ['with an open last line', 'data: {"choices":[{"delta":{"content":"a"}}]}\n\n', 'data: [DONE]', false],
    ['in lines that old Macs ended', 'data: {"choices":[{"delta":{"content":"a"}}]}\r\r', 'data: [DONE]\r\r', false],
  ])('of an engine that ends %s gets what is whole, and is told of the rest', async (_name, whole, rest, isCut) => {
    bench.world.server.script({ answer: { contentType: 'text/event-stream', body: whole + rest } });
    const text = await (await bench.post(chat, { model, messages, stream: true })).text();
    if (isCut) expect(text).toMatch(/^data: [^\n]*"a"[^\n]*\n\ndata: \{"error":\{"message":"[^"]*ended before the answer was complete\."[^\n]*\n\n$/);
    else expect(text).toBe(whole + rest);
  });

  it('leaves no engine at work on an answer that is none', async () => {
    bench.world.server.script({ answer: { contentType: 'text/html', body: 'x'.repeat(4 * 1024 * 1024) } });
    expect((await bench.post(chat, { model, messages })).status).toBe(502);
    await eventually('the connection to the engine is closed', () => bench.world.server.active === 0, 2_000);
  });

  it('may carry pictures of several megabytes', async () => {
    const url = `data:image/png;base64,${'A'.repeat(8 * 1024 * 1024)}`;
    const response = await bench.post(chat, { model, messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url } }] }] });
    expect(response.status).toBe(200);
    expect(JSON.stringify(bench.world.server.requests[0]!.body).length).toBeGreaterThan(url.length);
    await response.body?.cancel();
  });

  it('is turned away with a time to come again when as many answers are made as may be', async () => {
    const gate = createGate();
    bench.world.server.fallback({ tokens: ['a'], holdBefore: { index: 0, gate } });
    const running = Array.from({ length: 4 }, () => bench.post(chat, { model, messages, stream: true }));
    await eventually('all are being answered', () => bench.world.server.active === 4);
    const fifth = await bench.post(chat, { model, messages });
    expect([fifth.status, fifth.headers.has('retry-after')]).toEqual([503, true]);
    gate.open();
    for (const response of running) expect((await (await response).text()).endsWith('data: [DONE]\n\n')).toBe(true);
    expect((await bench.post(chat, { model, messages })).status).toBe(200);
  });

  it('of a reader that takes nothing holds little memory, holds the engine back, and is cut', async () => {
    const token = 'x'.repeat(64 * 1024);
    bench.world.server.script({ tokens: Array.from({ length: 2_000 }, () => token) });
    const body = JSON.stringify({ model, messages, stream: true });
    const socket = connect(bench.port, '127.0.0.1');
    socket.pause();
    socket.on('error', () => undefined);
    socket.write(`POST ${chat} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${bench.keyOf('slow')}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
    await eventually('the engine is asked', () => bench.world.server.active === 1);
    const before = process.memoryUsage().arrayBuffers;
    await eventually('the reader is cut and the engine let go', () => bench.world.server.active === 0);
    expect(bench.world.server.abandoned).toBeGreaterThan(0);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024 * 1024);
    socket.destroy();
  });

  it('ends when its key is revoked', async () => {
    const key = bench.keyOf('gone');
    bench.world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: createGate() } });
    const response = await bench.post(chat, { model, messages, stream: true }, { authorization: `Bearer ${key}` });
    const reader = response.body!.getReader();
    await reader.read();
    bench.revoke(key);
    await expect((async () => { for (;;) if ((await reader.read()).done) return; })()).rejects.toThrow();
    await eventually('the engine is free', () => bench.world.server.active === 0);
  });

  it('lets a page of an allowed origin ask with what OpenAI\'s client sends', async () => {
    const headers = { origin: 'https://console.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,content-type,x-stainless-lang,x-evil' };
    const response = await fetch(`${bench.url}${chat}`, { method: 'OPTIONS', headers });
    const allowed = response.headers.get('access-control-allow-headers') ?? '';
    expect([allowed.includes('x-stainless-lang'), allowed.includes('X-Chat-Session-Id'), allowed.includes('x-evil')]).toEqual([true, true, false]);
  });
});
