import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { sleep } from '../../../../../shared/async.ts';
import { GgufError } from '../../../../../shared/gguf/errors.ts';
import { defaultContextSize } from '../../../../../shared/gguf/fit-policy.ts';
import type { OutgoingHttp } from '../../../../../shared/outgoing-http.ts';
import { freePort, isPortFree } from '../../../../../platform/free-port.ts';
import { isOurPort } from '../../../../../platform/port-owner.ts';
import { identifyProcess, isSameProcess, type ProcessIdentity } from '../../../../../platform/process-identity.ts';
import { signalIfSame, watchExit, type EngineAddress } from '../adopted-engine.ts';
import { exitOf, orKilled, tellChild } from '../engine-child.ts';
import { engineEnvironment } from '../engine-environment.ts';
import { holdEngine } from '../engine-process.ts';
import { EngineStartError } from '../engine-start-error.ts';
import type { EngineExit, LocalEngine } from '../local-engine.ts';
import { untilReady } from '../../until-ready.ts';
import { readModelFile } from '../model-file.ts';
import type { EngineOptions } from '../protocol.ts';
import { claimEngines, extendGuard, guardEngine, resumeGuard } from './guard.ts';

export type StartLlamaServerOptions = {
  /** Path of the program. */
  program: string;
  engine: EngineOptions;
  /** Checked against the allow-list. */
  extraArgs: readonly string[];
  /** Names the file of its key. */
  deploymentId: string;
  /** A private folder; the key's file lies there for as long as the server runs. */
  runDir: string;
  logFd: number;
  environment: Readonly<Record<string, string>>;
  http: OutgoingHttp;
  onSpawn: (identity: ProcessIdentity) => void;
};

const portTries = 3;
const drainPollMs = 100;
const endGraceMs = 5_000;
const answerBytesMax = 1024 * 1024;
/** Each slot lists its settings too. */
const slotsSchema = z.array(z.object({ is_processing: z.boolean(), n_ctx: z.number().int().positive() })).min(1);

/** Resolves when the model is loaded and served; on abort the process is killed and has ended before this rejects. */
export async function startLlamaServer(options: StartLlamaServerOptions, signal: AbortSignal): Promise<LocalEngine> {
  signal.throwIfAborted();
  // Before any native code sees the file: llama.cpp trusts the sizes that a header gives.
  const usualContext = await usualContextSize(options.engine.modelPath);
  const contextSize = options.engine.contextSize ?? usualContext;
  await claimEngines(options.runDir);
  for (let attempt = 1; ; attempt += 1) {
    const port = options.engine.port === 0 ? await freePort() : options.engine.port;
    try {
      return await startOn({ ...options, port, contextSize }, signal);
    } catch (error) {
      // Another program took the port that was free a moment ago.
      const isBadLuck = error instanceof EngineStartError && error.code === 'PORT_IN_USE' && options.engine.port === 0;
      if (!isBadLuck || attempt === portTries) throw error;
    }
  }
}

export type AdoptLlamaServerOptions = { engine: EngineAddress; deploymentId: string; runDir: string; http: OutgoingHttp };

/**
 * Takes over a server that an earlier service left running; null when that process is no more. Rejects when it does
 * not answer, or not to this secret.
 */
export async function adoptLlamaServer({ engine, deploymentId, runDir, http }: AdoptLlamaServerOptions, signal: AbortSignal): Promise<LocalEngine | null> {
  if (!(await isSameProcess(engine))) return null;
  const server: Server = { http, baseUrl: `http://127.0.0.1:${engine.port}`, secret: engine.secret };
  if (!(await isOurPort(engine.port))) throw new Error('another account of this machine has the port of llama-server');
  if ((await readSlots(server, signal)) === null) throw new Error('llama-server does not answer to its key');
  await resumeGuard(runDir, engine.pid);
  const over = new AbortController();
  const onExit = watchExit(engine, over.signal).then(async (exit) => {
    await rm(keyFileOf(runDir, deploymentId), { force: true }).catch(() => undefined);
    return exit;
  });
  const letGo = holdEngine(engine.pid, onExit);
  const tell = (by: NodeJS.Signals): void => void signalIfSame(engine, by);
  return {
    ...engine,
    program: 'llama-server',
    onExit,
    kill: () => tell('SIGKILL'),
    stop: (drainMs, stopSignal) => stopServer({ tell, onExit, server }, drainMs, stopSignal),
    release: async (graceMs) => {
      await extendGuard(runDir, engine.pid, graceMs);
      letGo();
      over.abort();
    },
  };
}

async function usualContextSize(modelPath: string): Promise<number> {
  try {
    return defaultContextSize((await readModelFile(modelPath)).header.contextLength);
  } catch (error) {
    const reason = error instanceof GgufError ? error.message : 'it cannot be opened';
    throw new EngineStartError('MODEL_INVALID', `The model file cannot be loaded: ${reason}`);
  }
}

type Start = StartLlamaServerOptions & { port: number; contextSize: number };

async function startOn(start: Start, signal: AbortSignal): Promise<LocalEngine> {
  const secret = randomBytes(32).toString('base64url');
  const keyFile = keyFileOf(start.runDir, start.deploymentId);
  // A file, because arguments and environment of a process can be read by other users of the machine.
  await writeFile(keyFile, `${secret}\n`, { mode: 0o600 });
  const child = spawn(start.program, toArguments(start, keyFile), {
    // A session of its own: Ctrl-C in the terminal reaches the service alone, and the group can be killed as one.
    detached: true,
    stdio: ['ignore', start.logFd, start.logFd],
    env: engineEnvironment(start.environment),
  });
  let endGuard = (): void => undefined;
  const onExit = exitOf(child).then(async (exit) => {
    endGuard();
    await rm(keyFile, { force: true }).catch(() => undefined);
    return exit;
  });
  const begin = async (): Promise<LocalEngine> => {
    const identity = child.pid === undefined ? null : await identifyProcess(child.pid);
    if (identity === null) throw await explainExit(start, await onExit);
    endGuard = guardEngine(start.runDir, identity.pid);
    const letGo = holdEngine(identity.pid, onExit);
    start.onSpawn(identity);
    const server: Server = { http: start.http, baseUrl: `http://127.0.0.1:${start.port}`, secret };
    const [slot] = await untilServing(server, { start, onExit }, signal);
    const tell = (by: NodeJS.Signals): void => tellChild(child, by);
    const stop = (drainMs: number, stopSignal?: AbortSignal): Promise<EngineExit> => stopServer({ tell, onExit, server }, drainMs, stopSignal);
    const release = async (graceMs: number): Promise<void> => {
      await extendGuard(start.runDir, identity.pid, graceMs);
      letGo();
      child.unref();
    };
    const kill = (): void => tell('SIGKILL');
    return { ...identity, program: 'llama-server', port: start.port, contextSize: slot?.n_ctx ?? start.contextSize, secret, onExit, stop, kill, release };
  };
  return await orKilled({ child, onExit }, begin, signal);
}

function keyFileOf(runDir: string, deploymentId: string): string {
  return join(runDir, `${deploymentId}.key`);
}

function toArguments({ engine, extraArgs, port, contextSize }: Start, keyFile: string): string[] {
  const { modelPath, modelName, parallel, threads, gpuLayers } = engine;
  return [
    '--model', modelPath, '--alias', modelName, '--host', '127.0.0.1', '--port', String(port), '--api-key-file', keyFile,
    // It divides its context among the slots.
    '--ctx-size', String(contextSize * parallel), '--parallel', String(parallel),
    '--threads', String(threads ?? Math.max(1, availableParallelism() - 1)),
    ...(gpuLayers === null ? [] : ['--n-gpu-layers', String(gpuLayers)]),
    '--jinja', '--slots', '--no-webui', ...extraArgs,
  ];
}

export type Server = { http: OutgoingHttp; baseUrl: string; secret: string };
type Slots = z.infer<typeof slotsSchema>;

/** Its slots once it serves. Asking for them also shows that the server behind the port is the one with our key. */
async function untilServing(server: Server, run: { start: Start; onExit: Promise<EngineExit> }, signal: AbortSignal): Promise<Slots> {
  const ended = run.onExit.then(async (exit) => Promise.reject(await explainExit(run.start, exit)));
  // Between the choice of the port and its opening somebody else may take it, and would be sent the key and every prompt.
  return await untilReady(async (asking) => ((await isOurPort(run.start.port)) ? await readSlots(server, asking) : null), ended, signal);
}

/** Null while it loads. */
async function readSlots({ http, baseUrl, secret }: Server, signal: AbortSignal): Promise<Slots | null> {
  const common = { method: 'GET', maxBytes: answerBytesMax, allowPrivate: true } as const;
  const health = await http({ ...common, url: `${baseUrl}/health` }, signal);
  if (health.status !== 200) return null;
  const answer = await http({ ...common, url: `${baseUrl}/slots`, headers: { authorization: `Bearer ${secret}` } }, signal);
  return answer.status === 200 ? slotsSchema.parse(JSON.parse(Buffer.from(answer.body).toString('utf8'))) : null;
}

async function explainExit(start: Start, { code, signal }: EngineExit): Promise<EngineStartError> {
  if (code === null && signal === null) return new EngineStartError('ENGINE_UNAVAILABLE', `${start.program} could not be started.`);
  if (code !== null && !(await isPortFree(start.port))) return new EngineStartError('PORT_IN_USE', `Port ${start.port} is in use.`);
  const how = signal === null ? `exit code ${code ?? 'unknown'}` : `signal ${signal}`;
  return new EngineStartError('INTERNAL', `llama-server ended before it was ready (${how}); its log says more.`);
}

/** `tell` sends a signal to the whole process group, as long as it is the server's. */
type Running = { tell: (signal: NodeJS.Signals) => void; onExit: Promise<EngineExit>; server: Server };

/** It cuts running answers when it is told to end, so they are waited for here. */
async function stopServer({ tell, onExit, server }: Running, drainMs: number, signal?: AbortSignal): Promise<EngineExit> {
  const ended = new AbortController();
  void onExit.then(() => ended.abort());
  await untilIdle(server, AbortSignal.any([ended.signal, AbortSignal.timeout(drainMs), ...(signal ? [signal] : [])]));
  const kill = (): void => tell('SIGKILL');
  const timer = setTimeout(kill, endGraceMs);
  signal?.addEventListener('abort', kill, { once: true });
  if (signal?.aborted) kill();
  tell('SIGTERM');
  const exit = await onExit;
  clearTimeout(timer);
  signal?.removeEventListener('abort', kill);
  return exit;
}

/** Resolves when no answer runs, and when the signal aborts; a server that has no slots to show counts as idle. */
export async function untilIdle(server: Server, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await isBusy(server, signal))) await sleep(drainPollMs, signal).catch(() => undefined);
}

async function isBusy(server: Server, signal: AbortSignal): Promise<boolean> {
  try {
    return (await readSlots(server, signal))?.some((slot) => slot.is_processing) === true;
  } catch {
    // One that does not answer has nothing to say any more.
    return false;
  }
}
