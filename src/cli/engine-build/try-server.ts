import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile, type FileHandle } from 'node:fs/promises';
import path from 'node:path';
import { freePort } from '../../platform/free-port.ts';
import { sleep } from '../../shared/async.ts';
import { AppError } from '../../shared/errors.ts';
import { buildTinyGguf, tinyStory } from '../../shared/gguf/tiny-model.ts';

export type TryOptions = { program: string; folder: string; log: FileHandle; logFile: string };

const readyMs = 60_000;
const answerMs = 60_000;
const pollMs = 100;

async function waitUntilReady(url: string, isOver: () => boolean, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + readyMs;
  while (performance.now() < deadline && !isOver()) {
    const response = await fetch(`${url}/health`, { signal }).catch(() => null);
    await response?.body?.cancel();
    if (response?.status === 200) return true;
    await sleep(pollMs, signal);
  }
  return false;
}

async function ask(url: string, signal: AbortSignal): Promise<string> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'Tell me a story.' }], temperature: 0, max_tokens: 64 }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(answerMs)]),
  });
  const body = (await response.json()) as { choices?: { message?: { content?: unknown } }[] };
  const content = body.choices?.[0]?.message?.content;
  return typeof content === 'string' ? content.trim() : '';
}

/** Lets the program load a model that knows one sentence, and say it; throws START_FAILED when it does not. */
export async function tryServer({ program, folder, log, logFile }: TryOptions, signal: AbortSignal): Promise<void> {
  const model = path.join(folder, 'one-sentence.gguf');
  await writeFile(model, buildTinyGguf());
  const port = await freePort();
  await log.write(`\n$ ${program} --model ${model}\n`);
  const child = spawn(program, ['--model', model, '--host', '127.0.0.1', '--port', String(port), '--ctx-size', '512', '--threads', '1', '--jinja', '--no-webui'], { stdio: ['ignore', log.fd, log.fd], cwd: folder });
  const state = { isOver: false };
  const exited = once(child, 'exit').catch(() => undefined).then(() => void (state.isOver = true));
  const refuse = (what: string): AppError => new AppError('START_FAILED', `What was built does not work: ${what} (${logFile} has more).`);
  try {
    const url = `http://127.0.0.1:${port}`;
    if (!(await waitUntilReady(url, () => state.isOver, signal))) throw refuse('it did not load a model');
    const answer = await ask(url, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      throw refuse(error instanceof Error ? error.message : String(error));
    });
    if (answer !== tinyStory) throw refuse(`asked for a sentence it said ${JSON.stringify(answer.slice(0, 100))}`);
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}
