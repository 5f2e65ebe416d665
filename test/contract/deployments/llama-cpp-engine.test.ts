import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import OpenAI from 'openai';
import type { EngineProcess } from '../../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';
import { createEngineBench, post, postJson, readEvents, readHealth, waitUntil } from '../../support/engine.ts';
import { tinyStory } from '../../support/tiny-gguf.ts';

const bench = createEngineBench();
afterAll(() => bench.close());

const chat = '/v1/chat/completions';
const hello = { messages: [{ role: 'user', content: 'Hi there' }] };
const firstChoice = (body: Record<string, unknown>): Record<string, unknown> => (body['choices'] as Record<string, unknown>[])[0]!;
const textOf = (body: Record<string, unknown>): string => (firstChoice(body)['message'] as { content: string }).content;

async function stream(engine: EngineProcess, body: object, path = chat): Promise<{ pieces: string[]; chunks: Record<string, unknown>[]; last: string }> {
  const events: string[] = [];
  for await (const data of readEvents(await post(engine, path, { ...body, stream: true }))) events.push(data);
  const chunks = events.slice(0, -1).map((data) => JSON.parse(data) as Record<string, unknown>);
  const pieces = chunks.flatMap((chunk) => (chunk['choices'] as { delta?: { content?: string }; text?: string }[]).map((choice) => choice.delta?.content ?? choice.text ?? ''));
  return { pieces: pieces.filter((piece) => piece !== ''), chunks, last: events.at(-1) ?? '' };
}

describe('an engine with a model that tells a story', () => {
  let engine: EngineProcess;
  beforeAll(async () => {
    engine = await bench.start({ modelPath: bench.writeModel({ mode: 'story' }), parallel: 2, contextSize: 1024 });
  });

  it('says what it is when it is ready', () => {
    expect(engine).toMatchObject({ contextSize: 1024, trainContextSize: 2048, threads: 1, gpu: false, gpuLayers: 0 });
  });

  it('tells its health to anybody and nothing else', async () => {
    expect(await readHealth(engine)).toEqual({ status: 'ok', slots: { idle: 2, busy: 0, waiting: 0 } });
    for (const path of ['/v1/models', chat, '/v1/completions', '/nowhere']) {
      for (const authorization of [undefined, 'Bearer wrong', engine.secret, `bearer ${engine.secret}`]) {
        const response = await fetch(`http://127.0.0.1:${engine.port}${path}`, authorization === undefined ? {} : { headers: { authorization } });
        expect(response.status).toBe(401);
        expect(await response.json()).toMatchObject({ error: { code: 'invalid_api_key', type: 'authentication_error' } });
      }
    }
  });

  it('names its model', async () => {
    const response = await fetch(`http://127.0.0.1:${engine.port}/v1/models`, { headers: { authorization: `Bearer ${engine.secret}` } });
    expect(await response.json()).toMatchObject({ object: 'list', data: [{ id: 'tiny', object: 'model', meta: { n_ctx: 1024, n_ctx_train: 2048 } }] });
  });

  it('answers a chat in one piece with the tokens counted', async () => {
    const { status, body } = await postJson(engine, chat, { ...hello, temperature: 1 });
    expect(status).toBe(200);
    expect(firstChoice(body)).toMatchObject({ message: { role: 'assistant', content: tinyStory }, finish_reason: 'stop' });
    expect(body['usage']).toMatchObject({ prompt_tokens: 21, completion_tokens: 21, total_tokens: 42 });
  });

  it('counts a prompt that it remembers as a whole', async () => {
    const again = { messages: [{ role: 'user', content: 'Remember me' }] };
    const first = await postJson(engine, chat, again);
    const second = await postJson(engine, chat, again);
    const { prompt_tokens: promptTokens } = first.body['usage'] as { prompt_tokens: number };
    expect(second.body['usage']).toMatchObject({ prompt_tokens: promptTokens, prompt_tokens_details: { cached_tokens: promptTokens - 1 } });
    expect(textOf(second.body)).toBe(tinyStory);
  });

  it('embeds each text as a unit vector of its own, in order, and counts the tokens', async () => {
    const { status, body } = await postJson(engine, '/v1/embeddings', { model: 'tiny', input: ['Hi there', 'Something else', 'Hi there'] });
    expect(status).toBe(200);
    expect(body).toMatchObject({ object: 'list', model: 'tiny', data: [{ object: 'embedding', index: 0 }, { index: 1 }, { index: 2 }] });
    const [first, second, third] = (body['data'] as { embedding: number[] }[]).map(({ embedding }) => embedding);
    expect(first).toHaveLength(128);
    expect(Math.hypot(...first!)).toBeCloseTo(1, 5);
    expect(third).toEqual(first);
    expect(second).not.toEqual(first);
    const one = await postJson(engine, '/v1/embeddings', { input: 'Hi there', encoding_format: 'base64' });
    const [{ embedding }] = one.body['data'] as [{ embedding: string }];
    const bytes = Buffer.from(embedding, 'base64');
    expect(Array.from({ length: 128 }, (_, place) => bytes.readFloatLE(place * 4))).toEqual(first!.map(Math.fround));
    const { prompt_tokens: tokens } = one.body['usage'] as { prompt_tokens: number };
    expect(tokens).toBeGreaterThan(0);
    const client = new OpenAI({ apiKey: engine.secret, baseURL: `http://127.0.0.1:${engine.port}/v1`, maxRetries: 0 });
    const official = await client.embeddings.create({ model: 'tiny', input: ['Hi there'] });
    expect(official.data[0]?.embedding).toEqual(first!.map(Math.fround));
  });

  it('refuses to embed what it cannot as a whole, and answers on', async () => {
    const refused = [
      [{ input: 'word '.repeat(5_000) }, 400, 'context_length_exceeded'],
      [{ input: ['fine', ''] }, 400, 'invalid_value'],
      [{ input: [1, 2, 3] }, 400, 'invalid_value'],
      [{ input: 'x', dimensions: 2 }, 400, 'unsupported_parameter'],
      [{}, 400, 'invalid_value'],
    ] as const;
    for (const [body, status, code] of refused) expect(await postJson(engine, '/v1/embeddings', body)).toMatchObject({ status, body: { error: { code } } });
    expect((await postJson(engine, chat, hello)).status).toBe(200);
  });

  it('streams piece by piece and ends with the reason, the usage and [DONE]', async () => {
    const { pieces, chunks, last } = await stream(engine, { ...hello, stream_options: { include_usage: true } });
    expect(pieces.length).toBeGreaterThan(15);
    expect(pieces.join('')).toBe(tinyStory);
    expect(firstChoice(chunks[0]!)).toMatchObject({ delta: { role: 'assistant' } });
    expect(firstChoice(chunks.at(-2)!)).toMatchObject({ finish_reason: 'stop' });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { prompt_tokens: 21, completion_tokens: 21 } });
    expect(last).toBe('[DONE]');
  });

  it('keeps a character back until all of its bytes are there', async () => {
    const { pieces } = await stream(engine, hello);
    expect(pieces.some((piece) => piece.includes('\u{1F389}'))).toBe(true);
    expect(pieces.join('')).not.toContain('\uFFFD');
  });

  it('ends at max_tokens and says so', async () => {
    const { body } = await postJson(engine, chat, { ...hello, max_tokens: 3 });
    expect(firstChoice(body)).toMatchObject({ message: { content: 'Once upon a' }, finish_reason: 'length' });
    expect(body['usage']).toMatchObject({ completion_tokens: 3 });
  });

  it('ends before a stop text, also when it lies across pieces', async () => {
    const { pieces, chunks } = await stream(engine, { ...hello, stop: ['one sma', 'never'] });
    expect(pieces.join('')).toBe('Once upon a time there was ');
    expect(firstChoice(chunks.at(-1)!)).toMatchObject({ finish_reason: 'stop' });
  });

  it('takes content in parts, null for what is not used, and system messages', async () => {
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Hi' }, { type: 'text', text: ' there' }] },
    ];
    const { status, body } = await postJson(engine, chat, { model: 'x', messages, stop: null, seed: null, tools: [], tool_choice: 'none', user: 'me', max_tokens: null });
    expect(status).toBe(200);
    expect(textOf(body)).toBe(tinyStory);
  });

  it('completes a plain prompt, in one piece and as a stream', async () => {
    const { body } = await postJson(engine, '/v1/completions', { prompt: 'Tell me', max_tokens: 4 });
    expect(firstChoice(body)).toMatchObject({ text: 'Once upon a time', finish_reason: 'length' });
    const { pieces, last } = await stream(engine, { prompt: ['Tell me'], max_tokens: 4 }, '/v1/completions');
    expect(pieces.join('')).toBe('Once upon a time');
    expect(last).toBe('[DONE]');
  });

  it('answers in the form of a JSON schema', async () => {
    const schema = { type: 'object', properties: { ok: { type: 'boolean' }, size: { anyOf: [{ const: 'small' }, { const: 'big' }] } }, required: ['ok'], title: 'x' };
    const { body } = await postJson(engine, chat, { ...hello, max_tokens: 100, response_format: { type: 'json_schema', json_schema: { name: 'x', schema } } });
    const answer = JSON.parse(textOf(body)) as { ok: unknown; size: unknown };
    expect([true, false]).toContain(answer.ok);
    expect(['small', 'big']).toContain(answer.size);
  });

  it('begins an object when any JSON is asked for', async () => {
    const { status, body } = await postJson(engine, chat, { ...hello, max_tokens: 10, response_format: { type: 'json_object' } });
    expect(status).toBe(200);
    expect(textOf(body).trimStart()).toMatch(/^\{/);
  });

  it.each([
    ['no messages', { messages: [] }, 'invalid_value', 'messages'],
    ['a role it does not know', { messages: [{ role: 'robot', content: 'x' }] }, 'invalid_value', 'messages.0.role'],
    ['a picture', { messages: [{ role: 'user', content: [{ type: 'image_url', image_url: { url: 'x' } }] }] }, 'invalid_value', 'messages.0.content'],
    ['a temperature out of range', { ...hello, temperature: 3 }, 'invalid_value', 'temperature'],
    ['top_p out of range', { ...hello, top_p: -0.1 }, 'invalid_value', 'top_p'],
    ['max_tokens of none', { ...hello, max_tokens: 0 }, 'invalid_value', 'max_tokens'],
    ['several answers', { ...hello, n: 2 }, 'invalid_value', 'n'],
    ['tools', { ...hello, tools: [{ type: 'function' }] }, 'unsupported_parameter', 'tools'],
    ['log probabilities', { ...hello, logprobs: true }, 'unsupported_parameter', 'logprobs'],
    [
      'a schema that it could not keep',
      { ...hello, response_format: { type: 'json_schema', json_schema: { schema: { type: 'string', pattern: 'a+' } } } },
      'unsupported_response_format',
      'response_format',
    ],
    ['a prompt longer than the context', { messages: [{ role: 'user', content: 'x '.repeat(2_000) }] }, 'context_length_exceeded', 'messages'],
    ['no JSON', '{"messages":', 'invalid_json', null],
    ['JSON that is no object', '[1]', 'invalid_value', null],
  ])('refuses %s', async (_what, body, code, param) => {
    const answer = await postJson(engine, chat, body);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ error: { code, param, type: 'invalid_request_error' } });
  });

  it('refuses a body that is too large, whether its length is told or not', async () => {
    const big = 'x'.repeat(8 * 1024 * 1024 + 1);
    expect(await statusOf(post(engine, chat, big))).toBe(413);
    const headers = { authorization: `Bearer ${engine.secret}` };
    // `duplex` is Node's own and missing from the type.
    const init = { method: 'POST', duplex: 'half', body: new Blob([big]).stream(), headers } as RequestInit;
    const untold = fetch(`http://127.0.0.1:${engine.port}${chat}`, init);
    expect(await statusOf(untold)).toBe(413);
  });

  it('knows no other routes and methods', async () => {
    expect((await postJson(engine, '/v1/moderations', {})).status).toBe(404);
    expect((await postJson(engine, '/v1/models', {})).status).toBe(405);
    const response = await fetch(`http://127.0.0.1:${engine.port}${chat}`, { headers: { authorization: `Bearer ${engine.secret}` } });
    expect(response.status).toBe(405);
  });
});

/** A server may answer and close while the body is still on its way; the client then sees either. */
async function statusOf(request: Promise<Response>): Promise<number> {
  try {
    return (await request).status;
  } catch (error) {
    const { code } = (error as { cause?: { code?: string } }).cause ?? {};
    if (code === 'EPIPE' || code === 'ECONNRESET' || code === 'UND_ERR_SOCKET') return 413;
    throw error;
  }
}

describe('an engine with one slot and a model that never ends', () => {
  let engine: EngineProcess;
  beforeAll(async () => {
    engine = await bench.start({ modelPath: bench.writeModel({ mode: 'loop', contextLength: 32_768 }), contextSize: 16_384, queueMax: 1 });
  });

  type Running = { controller: AbortController; events: AsyncGenerator<string> };

  async function startEndless(): Promise<Running> {
    const controller = new AbortController();
    const events = readEvents(await post(engine, chat, { ...hello, stream: true }, controller.signal));
    await events.next();
    expect(String((await events.next()).value)).toContain('Once');
    return { controller, events };
  }

  const isFree = ({ slots }: { slots?: { idle: number } }): boolean => slots?.idle === 1;

  it('sends a piece as soon as it is known and stays healthy meanwhile', async () => {
    const { controller, events } = await startEndless();
    expect(await readHealth(engine)).toEqual({ status: 'ok', slots: { idle: 0, busy: 1, waiting: 0 } });
    expect(String((await events.next()).value)).toContain('upon');
    controller.abort();
    await waitUntil(() => readHealth(engine), isFree);
  });

  it('frees the slot when the reader goes away', async () => {
    for (let round = 0; round < 5; round++) {
      const { controller } = await startEndless();
      controller.abort();
      await waitUntil(() => readHealth(engine), isFree);
    }
  });

  it('stops reading a long prompt when the caller goes away', async () => {
    const controller = new AbortController();
    const request = post(engine, chat, { messages: [{ role: 'user', content: 'word '.repeat(2_500) }] }, controller.signal);
    await waitUntil(() => readHealth(engine), ({ slots }) => slots?.busy === 1);
    controller.abort();
    await expect(request).rejects.toThrow('abort');
    await waitUntil(() => readHealth(engine), isFree);
  });

  it('lets the next request wait, refuses the one after it, and serves in order of arrival', async () => {
    const first = await startEndless();
    const second = postJson(engine, chat, { ...hello, max_tokens: 4 });
    await waitUntil(() => readHealth(engine), ({ slots }) => slots?.waiting === 1);
    const third = await postJson(engine, chat, hello);
    expect(third.status).toBe(503);
    expect(third.headers.get('retry-after')).toBe('1');
    expect(third.body).toMatchObject({ error: { code: 'overloaded', type: 'server_error' } });
    first.controller.abort();
    const served = await second;
    expect(textOf(served.body)).toBe('Once upon a time');
    await waitUntil(() => readHealth(engine), isFree);
  });

  it('forgets a waiting request whose caller goes away', async () => {
    const first = await startEndless();
    const controller = new AbortController();
    const second = postJson(engine, chat, hello, controller.signal);
    await waitUntil(() => readHealth(engine), ({ slots }) => slots?.waiting === 1);
    controller.abort();
    await expect(second).rejects.toThrow('abort');
    await waitUntil(() => readHealth(engine), ({ slots }) => slots?.waiting === 0);
    first.controller.abort();
    await waitUntil(() => readHealth(engine), isFree);
  });
});

describe('an engine with a small context', () => {
  it('ends an answer with "length" when the context is full', async () => {
    const engine = await bench.start({ modelPath: bench.writeModel({ mode: 'loop' }), contextSize: 256 });
    const { body } = await postJson(engine, chat, hello);
    expect(firstChoice(body)).toMatchObject({ finish_reason: 'length' });
    const { total_tokens: totalTokens } = body['usage'] as { total_tokens: number };
    expect(totalTokens).toBeGreaterThan(250);
    expect(totalTokens).toBeLessThanOrEqual(256);
  });
});

describe('an engine with a model that says anything', () => {
  it('says the same for the same seed and something else for another', async () => {
    const engine = await bench.start({ modelPath: bench.writeModel({ mode: 'random' }), contextSize: 256 });
    const answerFor = async (extra: object): Promise<string> => textOf((await postJson(engine, chat, { ...hello, max_tokens: 20, temperature: 2, top_p: 1, top_k: 0, min_p: 0, ...extra })).body);
    const first = await answerFor({ seed: 7 });
    expect(await answerFor({ seed: 7 })).toBe(first);
    expect(await answerFor({ seed: 8 })).not.toBe(first);
    expect(await answerFor({ seed: -1 })).not.toBe(first);
    expect(await answerFor({})).not.toBe(await answerFor({}));
  });
});

describe('an engine with a model that thinks and a template of its own', () => {
  const template =
    '{% if messages|length > 4 %}{{ raise_exception("too many turns") }}{% endif %}' +
    '{% for m in messages %}[{{ m.role }}] {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}{# <think> </think> #}';
  let engine: EngineProcess;
  beforeAll(async () => {
    const script = ['<think>', ' hmm', ' well', '</think>', 'Yes', ', indeed', '.'];
    engine = await bench.start({ modelPath: bench.writeModel({ script, chatTemplate: template }), contextSize: 512 });
  });

  it('tells the thought apart from the answer', async () => {
    const { body } = await postJson(engine, chat, hello);
    expect(firstChoice(body)).toMatchObject({ message: { content: 'Yes, indeed.', reasoning_content: ' hmm well' } });
    const { pieces, chunks } = await stream(engine, hello);
    expect(pieces.join('')).toBe('Yes, indeed.');
    const thoughts = chunks.map((chunk) => (firstChoice(chunk)['delta'] as { reasoning_content?: string }).reasoning_content ?? '');
    expect(thoughts.join('')).toBe(' hmm well');
  });

  it('refuses a conversation that the template does not accept', async () => {
    const turns = [1, 2, 3].flatMap(() => [{ role: 'user', content: 'Hi' }, { role: 'assistant', content: 'Hello' }]);
    const answer = await postJson(engine, chat, { messages: [...turns, { role: 'user', content: 'Bye' }] });
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ error: { code: 'chat_template_refused' } });
  });
});
