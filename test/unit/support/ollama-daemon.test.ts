import { createHash } from 'node:crypto';
import { request } from 'node:http';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { OllamaDaemon, OllamaDaemonOptions } from '../../support/ollama/daemon.ts';
import { createOllamaDaemon, QUEUE_FULL } from '../../support/ollama/daemon.ts';

let daemon: OllamaDaemon | undefined;
afterEach(async () => {
  await daemon?.close();
  daemon = undefined;
});
async function start(options: OllamaDaemonOptions = {}): Promise<OllamaDaemon> {
  daemon = await createOllamaDaemon({ models: [{ name: 'tiny:135m' }], ...options });
  return daemon;
}

type Json = Record<string, unknown>;
const call = (path: string, body?: unknown, init: RequestInit = {}): Promise<Response> =>
  fetch(`${daemon?.endpoint ?? ''}${path}`, body === undefined ? init : { method: 'POST', body: typeof body === 'string' ? body : JSON.stringify(body), ...init });
const json = async (path: string, body?: unknown, init?: RequestInit): Promise<Json> => (await (await call(path, body, init)).json()) as Json;
const lines = async (answer: Response): Promise<Json[]> => (await answer.text()).trim().split('\n').map((line) => JSON.parse(line) as Json);
const user = (content: string): Json => ({ model: 'tiny:135m', messages: [{ role: 'user', content }] });

describe('models', () => {
  it('tells that it runs, its version and its models', async () => {
    await start();
    expect(await (await call('/')).text()).toBe('Ollama is running');
    expect(await json('/api/version')).toEqual({ version: expect.any(String) });
    expect(await json('/api/tags')).toMatchObject({ models: [{ name: 'tiny:135m', model: 'tiny:135m', details: { format: 'gguf' } }] });
    expect(await json('/api/show', { model: 'tiny:135m' })).toMatchObject({ capabilities: ['completion'], model_info: { 'llama.context_length': 8192 } });
    expect(await json('/v1/models')).toMatchObject({ object: 'list', data: [{ id: 'tiny:135m', owned_by: 'library' }] });
  });

  it.each([
    ['/api/show', { model: 'nope' }, 404, "model 'nope:latest' not found"],
    ['/api/show', {}, 400, 'model is required'],
    ['/api/chat', { model: 'nope', messages: [] }, 404, "model 'nope' not found"],
    ['/api/chat', 'broken', 400, "invalid character 'b' looking for beginning of value"],
    ['/api/chat', '', 400, 'missing request body'],
    ['/api/pull', { model: '../../etc' }, 400, 'invalid model name'],
    ['/api/chat', { ...user('x'), options: { temperature: 'hot' } }, 400, 'option "temperature" must be of type float32'],
    ['/api/chat', { ...user('x'), think: true }, 400, '"tiny:135m" does not support thinking'],
    ['/api/chat', { ...user('x'), tools: [{}] }, 400, 'registry.ollama.ai/library/tiny:135m does not support tools'],
  ] as const)('refuses %s %j by %i', async (path, body, status, message) => {
    await start();
    const answer = await call(path, body);
    expect([answer.status, await answer.json()]).toEqual([status, { error: message }]);
  });

  it('copies, deletes, and refuses wrong methods and foreign names', async () => {
    const { endpoint } = await start();
    expect((await call('/api/copy', { source: 'tiny:135m', destination: 'mine' })).status).toBe(200);
    expect((await call('/api/delete', { model: 'tiny:135m' }, { method: 'DELETE' })).status).toBe(200);
    expect((await call('/api/delete', { model: 'tiny:135m' }, { method: 'DELETE' })).status).toBe(404);
    expect(await json('/api/tags')).toMatchObject({ models: [{ name: 'mine:latest' }] });
    expect((await call('/api/chat')).status).toBe(405);
    const status = await new Promise((resolve) => request(`${endpoint}/api/tags`, { headers: { host: 'evil.example' } }, (res) => resolve(res.resume().statusCode)).end());
    expect(status).toBe(403);
  });
});

describe('chat', () => {
  it('streams one token a line and ends with reason and counts', async () => {
    await start();
    const frames = await lines(await call('/api/chat', user('hello there')));
    expect(frames.slice(0, -1).map(({ message }) => (message as Json)['content']).join('')).toBe('You said: hello there');
    expect(frames.at(-1)).toMatchObject({ done: true, done_reason: 'stop', eval_count: 4, message: { content: '' } });
    const cut = await lines(await call('/api/chat', { ...user('a b c d'), options: { num_predict: 2 } }));
    expect(cut.at(-1)).toMatchObject({ done_reason: 'length', eval_count: 2 });
    expect(await json('/api/chat', { ...user('x'), stream: false })).toMatchObject({ message: { content: 'You said: x' }, done: true });
  });

  it('loads and unloads by empty messages', async () => {
    await start();
    const empty = { model: 'tiny:135m', messages: [] };
    expect(await json('/api/chat', { ...empty, keep_alive: '10m' })).toMatchObject({ done_reason: 'load' });
    expect(await json('/api/ps')).toMatchObject({ models: [{ name: 'tiny:135m', size_vram: 0, expires_at: expect.any(String) }] });
    expect(await json('/api/chat', { ...empty, keep_alive: 0 })).toMatchObject({ done_reason: 'unload' });
    expect(await json('/api/ps')).toEqual({ models: [] });
  });

  it('breaks off with an error line, stalls until the client leaves, refuses when the queue is full', async () => {
    const { knobs, faults, state, requests } = await start();
    knobs.failAfterTokens = 1;
    const broken = await call('/api/chat', user('x'));
    expect(broken.status).toBe(200);
    expect((await lines(broken)).map((line) => 'error' in line)).toEqual([false, true]);
    knobs.failAfterTokens = null;
    knobs.stallAfterTokens = 2;
    const leaving = new AbortController();
    const stalled = await call('/api/chat', user('x'), { signal: leaving.signal });
    await requests.waitFor(() => state.generations[1]?.tokens === 2);
    expect(state.generations[1]?.state).toBe('running');
    leaving.abort();
    await expect(stalled.text()).rejects.toThrow();
    await requests.waitFor(() => state.generations[1]?.state === 'cancelled');
    faults.inject({ match: /chat/, times: 1, fault: QUEUE_FULL });
    const full = await call('/api/chat', user('x'));
    expect([full.status, await full.json()]).toEqual([503, { error: 'server busy, please try again.  maximum pending requests exceeded' }]);
  });

  it('speaks the OpenAI form on /v1, with usage on demand and without an end when it breaks', async () => {
    const { knobs } = await start();
    const text = await (await call('/v1/chat/completions', { ...user('x'), stream: true, stream_options: { include_usage: true } })).text();
    const events = text.trim().split('\n\n').map((event) => event.replace('data: ', ''));
    expect(events.at(-1)).toBe('[DONE]');
    expect(JSON.parse(events.at(-2) ?? '')).toMatchObject({ choices: [], usage: { completion_tokens: 3 } });
    expect(JSON.parse(events.at(-3) ?? '')).toMatchObject({ choices: [{ finish_reason: 'stop' }] });
    expect(await json('/v1/chat/completions', user('x'))).toMatchObject({ object: 'chat.completion', choices: [{ message: { content: 'You said: x' } }] });
    expect(await json('/v1/chat/completions', { ...user('x'), model: 'nope' })).toEqual({ error: { message: "model 'nope' not found", type: 'not_found_error', param: null, code: null } });
    knobs.failAfterTokens = 1;
    expect(await (await call('/v1/chat/completions', { ...user('x'), stream: true })).text()).not.toContain('[DONE]');
  });
});

describe('pull and create', () => {
  const digest = `sha256:${'ab'.repeat(32)}`;
  const pullable = [{ model: { name: 'new:latest' }, layers: [{ digest, size: 10_000_000 }, { digest: `sha256:${'cd'.repeat(32)}`, size: 100 }] }];

  it('tells its progress as the real one does: first frame without figure, last one below the total', async () => {
    await start({ pullable });
    const frames = await lines(await call('/api/pull', { model: 'new' }));
    expect(frames[0]).toEqual({ status: 'pulling manifest' });
    expect(frames[1]).toEqual({ status: 'pulling abababababab', digest, total: 10_000_000 });
    const layer = frames.filter((frame) => frame['digest'] === digest);
    expect(layer.at(-1)?.['completed']).toBeLessThan(10_000_000);
    expect(frames.slice(-3).map(({ status }) => status)).toEqual(['verifying sha256 digest', 'writing manifest', 'success']);
    expect(frames).toHaveLength(layer.length + 4);
    expect(await json('/api/tags')).toMatchObject({ models: [{ name: 'tiny:135m' }, { name: 'new:latest' }] });
  });

  it('stops when the client leaves and goes on where it was', async () => {
    const { state, requests } = await start({ pullable, knobs: { pullFrameBytes: 500_000, pullFrameMilliseconds: 10 } });
    const leaving = new AbortController();
    const first = call('/api/pull', { model: 'new' }, { signal: leaving.signal }).then((answer) => answer.text());
    await requests.waitFor(() => (state.pulled.get(digest) ?? 0) >= 2_000_000);
    leaving.abort();
    await expect(first).rejects.toThrow();
    await requests.waitFor((log) => log.entries[0]?.state === 'aborted');
    const kept = state.pulled.get(digest) ?? 0;
    expect(kept).toBeLessThan(10_000_000);
    const frames = await lines(await call('/api/pull', { model: 'new' }));
    expect(frames[1]?.['completed']).toBeGreaterThanOrEqual(kept);
    expect(frames.at(-1)).toEqual({ status: 'success' });
  });

  it('reports an unknown model within a 200 stream, or by 500 without one', async () => {
    await start();
    const streamed = await call('/api/pull', { model: 'none' });
    expect([streamed.status, (await lines(streamed)).at(-1)]).toEqual([200, { error: 'pull model manifest: file does not exist' }]);
    expect((await call('/api/pull', { model: 'none', stream: false })).status).toBe(500);
  });

  it('takes a GGUF by blob and create, under another layer digest', async () => {
    await start();
    const bytes = 'GGUF and more';
    const blob = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
    expect((await call(`/api/blobs/${blob}`, undefined, { method: 'HEAD' })).status).toBe(404);
    expect((await call(`/api/blobs/${blob}`, 'something else')).status).toBe(400);
    expect([(await call(`/api/blobs/${blob}`, bytes)).status, (await call(`/api/blobs/${blob}`, bytes)).status]).toEqual([201, 200]);
    const frames = await lines(await call('/api/create', { model: 'mine', files: { 'a.gguf': blob } }));
    expect(frames.at(-1)).toEqual({ status: 'success' });
    expect(JSON.stringify(frames)).not.toContain(blob);
    const text = `sha256:${createHash('sha256').update('text').digest('hex')}`;
    await call(`/api/blobs/${text}`, 'text');
    expect((await lines(await call('/api/create', { model: 'bad', files: { 'a.gguf': text } }))).at(-1)).toEqual({ error: 'supplied file was not in GGUF format' });
  });
});
