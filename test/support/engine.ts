import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { createParser } from 'eventsource-parser';
import { startEngine } from '../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';
import type { EngineProcess, StartEngineOptions } from '../../src/domains/deployments/runtimes/llama-cpp/engine-process.ts';
import type { EngineOptions } from '../../src/domains/deployments/runtimes/llama-cpp/protocol.ts';
import { buildTinyGguf } from './tiny-gguf.ts';
import type { TinyGgufOptions } from './tiny-gguf.ts';

/** A folder with model files and a log, and the engines started on them; `close` ends and removes all of it. */
export type EngineBench = {
  folder: string;
  writeModel(options: TinyGgufOptions): string;
  start(options: Partial<EngineOptions> & { modelPath: string }, extra?: Partial<StartEngineOptions>, signal?: AbortSignal): Promise<EngineProcess>;
  readLog(): string;
  close(): Promise<void>;
};

export function createEngineBench(): EngineBench {
  const folder = mkdtempSync(join(tmpdir(), 'llmm-engine-'));
  const logFile = join(folder, 'engine.log');
  const logFd = openSync(logFile, 'a');
  const engines: EngineProcess[] = [];
  let models = 0;
  return {
    folder,
    writeModel: (options) => {
      const path = join(folder, `model-${++models}.gguf`);
      writeFileSync(path, buildTinyGguf(options));
      return path;
    },
    start: async (options, extra = {}, signal = new AbortController().signal) => {
      // One thread: with all cores taken, llama.cpp's waiting threads cost more than they do.
      const defaults = { modelName: 'tiny', port: 0, contextSize: null, parallel: 1, threads: 1, gpuLayers: 0, queueMax: 4, drainMs: 10_000, orphanGraceMs: 60_000 };
      const engine = await startEngine({ engine: { ...defaults, ...options }, logFd, ...extra }, signal);
      engines.push(engine);
      return engine;
    },
    readLog: () => readFileSync(logFile, 'utf8'),
    close: async () => {
      for (const engine of engines) engine.kill();
      await Promise.all(engines.map((engine) => engine.onExit));
      closeSync(logFd);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export type Answer = { status: number; headers: Headers; body: Record<string, unknown> };

export function post(engine: Pick<EngineProcess, 'port' | 'secret'>, path: string, body: unknown, signal?: AbortSignal): Promise<Response> {
  return fetch(`http://127.0.0.1:${engine.port}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${engine.secret}`, 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal ? { signal } : {}),
  });
}

export async function postJson(engine: Pick<EngineProcess, 'port' | 'secret'>, path: string, body: unknown, signal?: AbortSignal): Promise<Answer> {
  const response = await post(engine, path, body, signal);
  return { status: response.status, headers: response.headers, body: (await response.json()) as Record<string, unknown> };
}

/** The `data` of a stream's events as they come; ends with the connection. */
export async function* readEvents(response: Response): AsyncGenerator<string> {
  const ready: string[] = [];
  const parser = createParser({ onEvent: (event) => ready.push(event.data) });
  const decoder = new TextDecoder();
  for await (const bytes of response.body ?? []) {
    parser.feed(decoder.decode(bytes, { stream: true }));
    yield* ready.splice(0);
  }
}

export type Health = { status: string; slots?: { idle: number; busy: number; waiting: number } };

export async function readHealth(engine: EngineProcess): Promise<Health> {
  return (await (await fetch(`http://127.0.0.1:${engine.port}/health`)).json()) as Health;
}

/** Asks again until `isMet`, a minute at most: on a busy machine all takes long. */
export async function waitUntil<T>(read: () => Promise<T> | T, isMet: (value: T) => boolean): Promise<T> {
  const deadline = Date.now() + 60_000;
  for (;;) {
    const value = await read();
    if (isMet(value)) return value;
    if (Date.now() > deadline) throw new Error(`It did not come to pass; the last value was ${JSON.stringify(value)}.`);
    await delay(10);
  }
}

