import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { RunningModel, RuntimeStart } from '../../../src/domains/deployments/runtime.ts';
import { createOllamaRuntime } from '../../../src/domains/deployments/runtimes/ollama/ollama.runtime.ts';
import { judgeVersion } from '../../../src/domains/deployments/runtimes/ollama/versions.ts';
import { createStreamingHttp } from '../../../src/infrastructure/http/streaming-http.ts';
import type { StreamingResponse } from '../../../src/shared/streaming-http.ts';
import { eventually } from '../../support/eventually.ts';
import { createOllamaDaemon, QUEUE_FULL, type OllamaDaemon } from '../../support/ollama/daemon.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const folder = mkdtempSync(join(tmpdir(), 'llmm-ollama-'));
const modelPath = join(folder, 'tiny.gguf');
writeFileSync(modelPath, buildTinyGguf());
const never = new AbortController().signal;
const http = createStreamingHttp();
let daemon: OllamaDaemon;
let logged: string[];

beforeEach(async () => {
  daemon = await createOllamaDaemon();
  logged = [];
  chats.splice(0);
});
afterEach(() => daemon.close());
afterAll(async () => {
  await http.close();
  await rm(folder, { recursive: true });
});

type Chat = { options: unknown; keep_alive: unknown };
/** Bodies of the calls of `/api/chat`, in order. */
const chats: Chat[] = [];
function note(url: string, body: unknown): void {
  if (url.endsWith('/api/chat')) chats.push(JSON.parse(String(body)) as Chat);
}

function runtime(): ReturnType<typeof createOllamaRuntime> {
  return createOllamaRuntime({
    host: daemon.endpoint,
    http: (asked, signal) => (note(asked.url, asked.body), http.request(asked, signal)),
    fetch: (url, init) => (note(url instanceof Request ? url.url : url.toString(), init?.body), http.fetch(url, init)),
  });
}

function request(config: RuntimeStart['config'] = {}): RuntimeStart {
  return {
    deploymentId: '0190a000-0000-7000-8000-000000000000', name: 'tiny', modelPath, config, apiKey: null, logFile: join(folder, 'engine.out'),
    log: (_stream, _level, message) => logged.push(message),
    onHandle: () => Promise.resolve(),
  };
}

async function ask(model: RunningModel, body: object, signal = never): Promise<StreamingResponse> {
  const send = model.http;
  if (!send) throw new Error('the runtime answers through its own translation');
  return await send({ method: 'POST', url: `${model.baseUrl}/v1/chat/completions`, headers: {}, body: JSON.stringify({ model: model.model, messages: [{ role: 'user', content: 'Hi there' }], ...body }) }, signal);
}

async function textOf(response: StreamingResponse): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of response.body) chunks.push(chunk);
  return Buffer.concat(chunks).toString('utf8');
}

const eventsOf = (text: string): unknown[] => text.split('\n\n').filter(Boolean).map((event) => (event === 'data: [DONE]' ? 'done' : (JSON.parse(event.replace('data: ', '')) as unknown)));

describe('an installed model on Ollama', () => {
  it('is sent once, and not again for the next start', async () => {
    const first = await runtime().start(request(), never);
    expect(daemon.state.models.has(first.model)).toBe(true);
    await first.stop(0, never);
    const uploads = (): number => daemon.requests.entries.filter(({ method, path }) => method === 'POST' && path.startsWith('/api/blobs/')).length;
    expect(uploads()).toBe(1);
    await (await runtime().start(request(), never)).stop(0, never);
    expect(uploads()).toBe(1);
    expect(logged.join('\n')).toContain('using autodetected template');
    expect(logged.join('\n')).toContain('on the disk twice');
  });

  it('stays loaded while another deployment of it runs, and is unloaded with the last', async () => {
    const shared = runtime();
    const [first, second] = [await shared.start(request(), never), await shared.start(request(), never)];
    await first.stop(0, never);
    await first.stop(0, never);
    expect(daemon.state.runners.has(second.model)).toBe(true);
    await second.stop(0, never);
    expect(daemon.state.runners.has(second.model)).toBe(false);
  });

  it('is loaded with the context that was set, and its memory is what the server tells', async () => {
    const model = await runtime().start(request({ contextSize: 512 }), never);
    expect(model.contextSize).toBe(512);
    expect(daemon.state.runners.get(model.model)?.contextLength).toBe(512);
    expect(await model.use()).toMatchObject({ memoryBytes: expect.any(Number), gpuMemoryBytes: 0 });
  });

  it('keeps the options of its load in every request, so that the server never loads it anew', async () => {
    const model = await runtime().start(request({ contextSize: 512, threads: 2, gpuLayers: 0 }), never);
    await textOf(await ask(model, { temperature: 0.5, max_tokens: 3, stream: true }));
    expect(chats.map(({ options, keep_alive: keepAlive }) => ({ options, keepAlive }))).toEqual([
      { options: { num_ctx: 512, num_thread: 2, num_gpu: 0 }, keepAlive: -1 },
      { options: { num_ctx: 512, num_thread: 2, num_gpu: 0, temperature: 0.5, num_predict: 3 }, keepAlive: -1 },
    ]);
    expect(daemon.requests.matching(/\/v1\/chat/)).toEqual([]);
  });

  it('is refused where the server is too old, and the fault of one with a known fault is told', async () => {
    daemon.knobs.version = '0.3.14';
    await expect(runtime().start(request(), never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE', message: expect.stringContaining('too old') });
    expect(await runtime().probe(never)).toMatchObject({ available: false, engines: [{ available: false, remedy: expect.any(String) }] });
    daemon.knobs.version = '0.12.6';
    expect(await runtime().probe(never)).toMatchObject({ available: true, version: '0.12.6', detail: expect.stringContaining('CVE-2026-7482') });
  });

  it('cannot be used while no server answers, which the probe says with how to get one', async () => {
    await daemon.close();
    expect(await runtime().probe(never)).toMatchObject({ available: false, engines: [{ id: 'ollama', remedy: expect.stringContaining('OLLAMA_HOST') }] });
    await expect(runtime().start(request(), never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    daemon = await createOllamaDaemon();
  });
});

describe('an answer of Ollama', () => {
  it('streams in the words of OpenAI, usage and end included', async () => {
    const model = await runtime().start(request(), never);
    const response = await ask(model, { stream: true, stream_options: { include_usage: true } });
    expect(response).toMatchObject({ status: 200, headers: { 'content-type': expect.stringContaining('text/event-stream') } });
    const events = eventsOf(await textOf(response)) as { choices: { delta: { content?: string }; finish_reason: string | null }[]; usage?: object }[];
    expect(events.at(-1)).toBe('done');
    expect(events.flatMap((event) => (event.choices as typeof event.choices | undefined)?.[0]?.delta.content ?? []).join('')).toBe('You said: Hi there');
    expect(events.at(-3)?.choices[0]?.finish_reason).toBe('stop');
    expect(events.at(-2)?.usage).toEqual({ prompt_tokens: expect.any(Number), completion_tokens: 4, total_tokens: expect.any(Number) });
  });

  it('comes whole when it is not to be streamed', async () => {
    const model = await runtime().start(request(), never);
    const response = await ask(model, { max_tokens: 2 });
    expect(JSON.parse(await textOf(response))).toMatchObject({ object: 'chat.completion', choices: [{ message: { role: 'assistant', content: 'You said: ' }, finish_reason: 'length' }] });
  });

  it('that breaks off tells the error, without an end that would look complete', async () => {
    const model = await runtime().start(request(), never);
    daemon.knobs.failAfterTokens = 2;
    const events = eventsOf(await textOf(await ask(model, { stream: true })));
    expect(events.at(-1)).toMatchObject({ error: { message: expect.stringContaining('unexpected EOF') } });
    expect(events).not.toContain('done');
  });

  it('is not generated further when the caller leaves', async () => {
    const model = await runtime().start(request(), never);
    daemon.knobs.stallAfterTokens = 1;
    const left = new AbortController();
    const response = await ask(model, { stream: true }, left.signal);
    const reading = textOf(response).catch((error: unknown) => error);
    await eventually('it generates', () => daemon.state.generations[0]?.tokens === 1);
    const reason = new Error('left');
    left.abort(reason);
    expect(await reading).toBe(reason);
    await eventually('the server has stopped', () => daemon.state.generations[0]?.state === 'cancelled');
  });

  it('is refused with the status of the server where it is busy, and with a sentence where the request is wrong', async () => {
    const model = await runtime().start(request(), never);
    daemon.faults.inject({ match: /^\/api\/chat/, fault: QUEUE_FULL, times: 1 });
    const busy = await ask(model, { stream: true });
    expect(busy.status).toBe(503);
    expect(JSON.parse(await textOf(busy))).toMatchObject({ error: { message: expect.stringContaining('server busy') } });
    const wrong = await ask(model, { messages: 'Hi' });
    expect(wrong.status).toBe(400);
    expect(JSON.parse(await textOf(wrong))).toMatchObject({ error: { message: expect.stringContaining('messages') } });
  });

  it('with tools that the model has no use for is refused in the words of the server', async () => {
    const model = await runtime().start(request(), never);
    const response = await ask(model, { tools: [{ type: 'function', function: { name: 'f', parameters: {} } }] });
    expect(response.status).toBe(400);
    expect(JSON.parse(await textOf(response))).toMatchObject({ error: { message: expect.stringContaining('does not support tools') } });
  });
});

describe('the version of an Ollama server', () => {
  it('is read leniently: builds from source and forks are taken as they are', () => {
    for (const version of ['0.0.0', 'dev', '', '0.35.0', 'v1.2.3-rc1']) expect(judgeVersion(version)).toEqual({ fault: null, warning: null });
    expect(judgeVersion('0.5.4').fault).toContain('too old');
    expect(judgeVersion('0.34.2').warning).toContain('redirected');
  });
});
