import { mkdtempSync, openSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from '@jest/globals';
import type { EngineProcess } from '../../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';
import { startLlamaServer } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-server/server-process.ts';
import { createEngineBench, postJson } from '../../support/engine.ts';
import { realLlamaServer } from '../../support/llama-servers.ts';
import { plainHttp } from '../../support/plain-http.ts';

const templates = {
  ChatML: "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  // As SmolLM2 has it.
  'ChatML with a system message of its own':
    "{% for m in messages %}{% if loop.first and m.role != 'system' %}<|im_start|>system\nYou are Tiny<|im_end|>\n{% endif %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  'one of its own': "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}<|im_end|>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
} as const;
type Message = { role: string; content: string };
const user = { role: 'user', content: 'Hi there' };
const conversations: Message[][] = [[user], [{ role: 'system', content: 'Be brief.' }, user], [user, { role: 'assistant', content: 'Hello' }, { role: 'user', content: 'Go on' }]];

/** Written out by hand, one for each template. */
const rendered: Record<keyof typeof templates, (messages: Message[]) => string> = {
  ChatML: chatMl,
  'ChatML with a system message of its own': (messages) => chatMl(messages[0]?.role === 'system' ? messages : [{ role: 'system', content: 'You are Tiny' }, ...messages]),
  'one of its own': (messages) => `<|endoftext|>${messages.map(({ role, content }) => `[${role}]${content}<|im_end|>`).join('')}[assistant]`,
};

function chatMl(messages: Message[]): string {
  return `${messages.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join('')}<|im_start|>assistant\n`;
}

const bench = createEngineBench();
afterAll(() => bench.close());
type Asked = Pick<EngineProcess, 'port' | 'secret'>;

async function expectTheModelsOwn(engine: Asked, name: keyof typeof templates): Promise<void> {
  for (const messages of conversations) {
    const chat = await postJson(engine, '/v1/chat/completions', { messages, max_tokens: 1, temperature: 0 });
    const text = await postJson(engine, '/v1/completions', { prompt: rendered[name](messages), max_tokens: 1, temperature: 0 });
    expect(promptTokens(chat.body)).toBe(promptTokens(text.body));
    // Nothing is left to evaluate but the last token: it was the same prompt, token for token.
    expect(cachedTokens(text.body)).toBe(promptTokens(text.body) - 1);
  }
}

type Usage = { usage?: { prompt_tokens: number; prompt_tokens_details: { cached_tokens: number } } };
const promptTokens = (body: Usage): number => body.usage?.prompt_tokens ?? -1;
const cachedTokens = (body: Usage): number => body.usage?.prompt_tokens_details.cached_tokens ?? -1;

describe.each(Object.keys(templates) as (keyof typeof templates)[])('a model whose template is %s', (name) => {
  const modelPath = bench.writeModel({ mode: 'loop', chatTemplate: templates[name] });

  it('is given the prompt of its template by the embedded engine, token for token', async () => {
    await expectTheModelsOwn(await bench.start({ modelPath, contextSize: 512 }), name);
  });

  const program = realLlamaServer();
  (program === null ? it.skip : it)('is given the same by a real llama-server', async () => {
    const runDir = mkdtempSync(join(tmpdir(), 'llmm-prompts-'));
    const engine = { modelPath, modelName: 'loop', port: 0, contextSize: 512, parallel: 1, threads: 1, gpuLayers: 0, queueMax: 4, drainMs: 0, orphanGraceMs: 60_000 };
    const logFd = openSync(join(runDir, 'log'), 'a');
    const server = await startLlamaServer({ program: program ?? '', engine, extraArgs: [], deploymentId: 'prompts', runDir, logFd, environment: {}, http: plainHttp, onSpawn: () => undefined }, new AbortController().signal);
    try {
      await expectTheModelsOwn(server, name);
    } finally {
      server.kill();
      await server.onExit;
      await rm(runDir, { recursive: true });
    }
  });
});
