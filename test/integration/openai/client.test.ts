import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import OpenAI from 'openai';
import { createGate } from '../../../src/shared/async.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { eventually } from '../../support/eventually.ts';
import { startGatewayBench, type GatewayBench } from '../../support/gateway-bench.ts';

let bench: GatewayBench;
let model: string;
beforeAll(async () => {
  bench = await startGatewayBench();
  model = bench.world.deployment.view.name;
});
afterAll(async () => bench.close());
beforeEach(() => bench.world.server.reset());

const messages = [{ role: 'user' as const, content: 'Hi' }];
const seen = () => bench.world.server.requests[0]!;

describe("OpenAI's own client", () => {
  it('lists deployments as models and finds one by name', async () => {
    const listed = await bench.client.models.list();
    expect(listed.data).toEqual([{ id: model, object: 'model', created: expect.any(Number), owned_by: 'llm-manager' }]);
    expect(await bench.client.models.retrieve(model)).toMatchObject({ id: model });
    await expect(bench.client.models.retrieve('none')).rejects.toThrow(OpenAI.NotFoundError);
  });

  it('gets a whole answer, and the engine is asked for its own model with its own key', async () => {
    const answer = await bench.client.chat.completions.create({ model, messages, temperature: 0.5, max_completion_tokens: 9, stop: 'END' });
    expect(answer.choices[0]?.message.content).toBe('Hello world');
    expect(answer.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 2 });
    expect(seen()).toMatchObject({ path: '/v1/chat/completions', body: { model: bench.world.deployment.target.model, messages, temperature: 0.5, max_completion_tokens: 9, stop: 'END' } });
    expect(seen().headers.authorization).toBe('Bearer engine-key');
  });

  it('streams token by token as they come', async () => {
    const gate = createGate();
    bench.world.server.script({ tokens: ['a', 'b', '🙂'], holdBefore: { index: 2, gate } });
    const stream = await bench.client.chat.completions.create({ model, messages, stream: true, stream_options: { include_usage: true } });
    const pieces: string[] = [];
    let usage: unknown;
    for await (const chunk of stream) {
      const piece = chunk.choices[0]?.delta.content;
      if (piece) pieces.push(piece);
      // The third one is only written once the second one has been read.
      if (pieces.length === 2) gate.open();
      usage = chunk.usage ?? usage;
    }
    expect(pieces).toEqual(['a', 'b', '🙂']);
    expect(usage).toMatchObject({ completion_tokens: 3 });
  });

  it('passes tools, their results, a response format and pictures on', async () => {
    const tools = [{ type: 'function' as const, function: { name: 'weather', description: 'Tells it.', parameters: { type: 'object', properties: { city: { type: 'string' } } } } }];
    const picture = { type: 'image_url' as const, image_url: { url: 'data:image/png;base64,iVBORw0KGgo=' } };
    const given = [
      { role: 'user' as const, content: [{ type: 'text' as const, text: 'What is this?' }, picture] },
      { role: 'assistant' as const, content: null, tool_calls: [{ id: 'c1', type: 'function' as const, function: { name: 'weather', arguments: '{"city":"Bern"}' } }] },
      { role: 'tool' as const, tool_call_id: 'c1', content: 'sunny' },
    ];
    const format = { type: 'json_schema' as const, json_schema: { name: 'x', schema: { type: 'object' }, strict: true } };
    const call = { id: 'c2', type: 'function', function: { name: 'weather', arguments: '{}' } };
    const body = JSON.stringify({ id: 'x', object: 'chat.completion', created: 1, model: 'm', choices: [{ index: 0, message: { role: 'assistant', content: null, tool_calls: [call] }, finish_reason: 'tool_calls' }] });
    bench.world.server.script({ answer: { contentType: 'application/json', body } });
    const answer = await bench.client.chat.completions.create({ model, messages: given, tools, tool_choice: 'required', response_format: format, parallel_tool_calls: false });
    expect(answer.choices[0]?.message.tool_calls).toEqual([call]);
    expect(seen().body).toMatchObject({ messages: given, tools, tool_choice: 'required', response_format: format, parallel_tool_calls: false });
  });

  it('completes text, whole and as a stream', async () => {
    const whole = await bench.client.completions.create({ model, prompt: 'Once', max_tokens: 5, echo: true });
    expect(whole.choices[0]?.text).toBe('Hello world');
    expect(seen()).toMatchObject({ path: '/v1/completions', body: { prompt: 'Once', max_tokens: 5, echo: true } });
    const texts: string[] = [];
    for await (const chunk of await bench.client.completions.create({ model, prompt: 'Once', stream: true })) texts.push(chunk.choices[0]?.text ?? '');
    expect(texts.join('')).toBe('Hello world');
  });

  it('embeds, also with an engine that does not know base64', async () => {
    const embedded = await bench.client.embeddings.create({ model, input: ['a', 'b'] });
    expect(seen().body).toMatchObject({ encoding_format: 'base64', input: ['a', 'b'] });
    expect(embedded.data.map(({ embedding }) => embedding)).toEqual([[0.5, -1.25, 0], [0.5, -1.25, 1]]);
    const plain = await bench.client.embeddings.create({ model, input: 'a', encoding_format: 'float' });
    expect(plain.data[0]?.embedding).toEqual([0.5, -1.25, 0]);
  });

  it('meets its own error classes', async () => {
    await expect(new OpenAI({ apiKey: 'wrong', baseURL: `${bench.url}/v1`, maxRetries: 0 }).models.list()).rejects.toThrow(OpenAI.AuthenticationError);
    await expect(bench.client.chat.completions.create({ model: 'none', messages })).rejects.toThrow(OpenAI.NotFoundError);
    await expect(bench.client.chat.completions.create({ model, messages, temperature: 3 })).rejects.toThrow(OpenAI.BadRequestError);
    bench.world.server.script({ refuse: { status: 400, body: { error: { message: 'the request exceeds the available context size', type: 'exceed_context_size_error' } } } });
    const tooLong = await bench.client.chat.completions.create({ model, messages }).catch((error: unknown) => error);
    expect(tooLong).toMatchObject({ status: 400, code: 'context_length_exceeded', type: 'invalid_request_error' });
  });

  it('is told within the stream when the rest will not come', async () => {
    bench.world.server.script({ tokens: ['a', 'b', 'c'], cutAfter: 2 });
    const pieces: string[] = [];
    const read = async (): Promise<void> => {
      for await (const chunk of await bench.client.chat.completions.create({ model, messages, stream: true })) pieces.push(chunk.choices[0]?.delta.content ?? '');
    };
    await expect(read()).rejects.toThrow('The connection to the model server failed.');
    expect(pieces.join('')).toBe('ab');
  });

  it('frees the engine when it aborts', async () => {
    bench.world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: createGate() } });
    const stream = await bench.client.chat.completions.create({ model, messages, stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    await eventually('the engine is free', () => bench.world.server.active === 0);
    expect(bench.world.server.abandoned).toBeGreaterThan(0);
  });

  it('learns that the engine crashed', async () => {
    const lost = bench.world.addDeployment();
    bench.world.server.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: createGate() } });
    const stream = await bench.client.chat.completions.create({ model: lost.view.name, messages, stream: true });
    const read = async (): Promise<void> => {
      for await (const chunk of stream) if (chunk.choices[0]?.delta.content) lost.lose(new AppError('CRASHED', 'The engine ended with signal SIGSEGV.'));
    };
    await expect(read()).rejects.toThrow('The engine ended with signal SIGSEGV.');
  });
});
