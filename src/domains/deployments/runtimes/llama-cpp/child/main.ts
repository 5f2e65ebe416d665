/**
 * The engine child: one model, served on the loopback interface in the words of the OpenAI API. Its parent talks to
 * it over the IPC channel (`../protocol.ts`). When that channel closes the parent is gone: the child then serves on for
 * a while, for the next service to take it over, and ends where none does.
 */
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Embedder } from './embedder.ts';
import { Engine } from './engine.ts';
import { Lease } from './lease.ts';
import { createEngineLog } from './log.ts';
import { EngineFailure, loadModel } from './model-loader.ts';
import type { LoadResult } from './model-loader.ts';
import { EngineServer } from './server.ts';
import { engineExitCodes } from '../protocol.ts';
import type { EngineOptions, FromEngine, ToEngine } from '../protocol.ts';

/** The library's own clean-up may never settle, e.g. after a failed load. */
const disposeTimeoutMs = 1_000;
const progressIntervalMs = 100;

const log = createEngineLog();
let server: EngineServer | undefined;
let loaded: LoadResult | undefined;
let lease: Lease | undefined;
let isReady = false;
let drainMs = 30_000;
let isStopping = false;

function send(message: FromEngine): void {
  // A parent that has gone cannot be told anything; `disconnect` deals with that.
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}

async function start({ options, secret }: Extract<ToEngine, { type: 'start' }>): Promise<void> {
  drainMs = options.drainMs;
  lease = new Lease(options.orphanGraceMs, () => {
    log('warn', 'No service has taken this engine over; ending.');
    void stop(0);
  });
  server = new EngineServer({ secret, modelName: options.modelName, log, lease });
  const port = await listen(server, options.port);
  loaded = await loadModel(options, log, createProgressReporter());
  const { model, contextSize, threads, gpu } = loaded;
  const engine = new Engine(loaded, options.queueMax);
  const embedder = new Embedder(loaded, options.queueMax);
  const { trainContextSize } = model;
  server.serve({ engine, embedder, contextSize, trainContextSize, loadedAt: new Date() });
  log('info', `Ready on port ${port}: context ${options.parallel} x ${contextSize}, ${threads} threads, ${gpu === false ? 'processor' : gpu}.`);
  if (gpu === false && (options.gpuLayers ?? 0) > 0) log('warn', `No graphics card can be used, so none of the ${options.gpuLayers} layers is on one; "llm-manager engines" tells what is missing.`);
  isReady = true;
  send({ type: 'ready', pid: process.pid, port, contextSize, trainContextSize, parallel: options.parallel, threads, gpu, gpuLayers: model.gpuLayers });
}

async function listen({ http }: EngineServer, port: EngineOptions['port']): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  http.once('error', reject);
  http.listen(port, '127.0.0.1', () => resolve(undefined));
  try {
    await promise;
  } catch (cause) {
    const isTaken = (cause as NodeJS.ErrnoException).code === 'EADDRINUSE';
    throw new EngineFailure(isTaken ? 'PORT_IN_USE' : 'INTERNAL', isTaken ? `Port ${port} is in use.` : `Port ${port} cannot be opened.`, cause);
  }
  // Listening on a port, never on a path.
  return (http.address() as AddressInfo).port;
}

function createProgressReporter(): (progress: number) => void {
  let sentAt = 0;
  return (progress) => {
    const now = performance.now();
    if (progress < 1 && now - sentAt < progressIntervalMs) return;
    sentAt = now;
    send({ type: 'loading', progress });
  };
}

function fail(error: unknown): void {
  const code = error instanceof EngineFailure ? error.code : 'INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  log('error', `${code}: ${message}`);
  send({ type: 'failed', code, message });
  void end(engineExitCodes[code]);
}

async function stop(waitMs: number): Promise<void> {
  const isFirst = !isStopping;
  isStopping = true;
  if (isFirst) log('info', 'Stopping.');
  // Asked a second time it may have to hurry; the first call ends the process.
  await server?.drain(waitMs);
  if (isFirst) await end(0);
}

async function end(exitCode: number): Promise<void> {
  const disposed = loaded?.llama.dispose().catch((error: unknown) => log('warn', `Clean-up failed: ${String(error)}`));
  await Promise.race([disposed, delay(disposeTimeoutMs)]);
  process.exit(exitCode);
}

process.on('message', (message: ToEngine) => {
  if (message.type === 'start') start(message).catch(fail);
  else if (message.type === 'release') lease?.releaseFor(message.graceMs);
  else void stop(message.drainMs);
});
process.on('disconnect', () => {
  if (isStopping) return;
  if (isReady && lease) {
    const graceMs = lease.orphan();
    log('warn', `The service is gone; the next one has ${Math.round(graceMs / 1000)} s to take this engine over.`);
    return;
  }
  // Nobody knows of it yet.
  log('warn', 'The service is gone; ending.');
  // Not process.exit: it would wait for native threads that may be in the middle of a load.
  process.kill(process.pid, 'SIGKILL');
});
process.on('SIGTERM', () => void stop(drainMs));
process.on('SIGINT', () => void stop(drainMs));
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);
process.title = 'llm-manager-engine';
