import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { sleep } from '../../../../shared/async.ts';
import { exitOf, orKilled, signalGroup, tellChild } from './engine-child.ts';
import { engineEnvironment } from './engine-environment.ts';
import { EngineStartError } from './engine-start-error.ts';
import type { EngineExit, LocalEngine } from './local-engine.ts';
import { readMessage } from './engine-message.ts';
import { engineExitCodes } from './protocol.ts';
import type { EngineFailureCode, EngineOptions, EngineReady, ToEngine } from './protocol.ts';
import { identifyProcess, isSameProcess } from '../../../../platform/process-identity.ts';
import type { ProcessIdentity } from '../../../../platform/process-identity.ts';

export type StartEngineOptions = {
  engine: EngineOptions;
  /** An open file: a pipe would block the engine when nobody reads, and die with the service. */
  logFd: number;
  /** Variables of the deployment. Nothing else of the service's own environment is passed but what `engineEnvironment` names. */
  environment?: Readonly<Record<string, string>>;
  /** 0..1 of the weights. */
  onProgress?: (progress: number) => void;
  /** Called as soon as the process exists, so that it can be stored before anything can go wrong. */
  onSpawn?: (identity: ProcessIdentity) => void;
};

/** An engine that this process has started. When this process is killed it serves on for its `orphanGraceMs`. */
export type EngineProcess = LocalEngine & Pick<EngineReady, 'trainContextSize' | 'threads' | 'gpu' | 'gpuLayers'>;

const childMain = fileURLToPath(new URL('./child/main.ts', import.meta.url));

/** After the drain the engine cleans up, for which it gives itself one second. */
export const endGraceMs = 5_000;

/** Resolves when the model is loaded and served; on abort the process is killed and has ended before this rejects. */
export async function startEngine(options: StartEngineOptions, signal: AbortSignal): Promise<EngineProcess> {
  signal.throwIfAborted();
  const child = spawnChild(options);
  const onExit = exitOf(child);
  const start = async (): Promise<EngineProcess> => {
    const identity = await identify(child);
    const letGo = holdEngine(identity.pid, onExit);
    options.onSpawn?.(identity);
    const secret = randomBytes(32).toString('base64url');
    const ready = waitUntilReady(child, onExit, options.onProgress);
    tell(child, { type: 'start', options: options.engine, secret });
    const { port, contextSize, trainContextSize, threads, gpu, gpuLayers } = await ready;
    const stop = (drainMs: number, stopSignal?: AbortSignal): Promise<EngineExit> => stopChild(child, onExit, drainMs, stopSignal);
    const release = async (graceMs: number): Promise<void> => {
      await releaseChild(child, graceMs);
      letGo();
    };
    const kill = (): void => tellChild(child, 'SIGKILL');
    return { ...identity, program: 'embedded', port, contextSize, trainContextSize, threads, gpu, gpuLayers, secret, onExit, stop, kill, release };
  };
  return await orKilled({ child, onExit }, start, signal);
}

/**
 * Ends an engine that an earlier run of the service left behind; false when that process is no more. Never touches
 * another process that has got the same pid meanwhile.
 */
export async function endOrphan(identity: ProcessIdentity, signal: AbortSignal): Promise<boolean> {
  if (!(await isSameProcess(identity))) return false;
  signalGroup(identity.pid, 'SIGTERM');
  for (let waitedMs = 0; await isSameProcess(identity); waitedMs += pollMs) {
    // It has no service any more, so nobody waits for its answers.
    if (waitedMs >= orphanGraceMs) signalGroup(identity.pid, 'SIGKILL');
    await sleep(pollMs, signal);
  }
  return true;
}

const pollMs = 50;
const orphanGraceMs = 1_000;

function spawnChild({ logFd, environment = {} }: StartEngineOptions): ChildProcess {
  return spawn(process.execPath, ['--disable-warning=ExperimentalWarning', childMain], {
    // A session of its own: Ctrl-C in the terminal reaches the service alone, and the group can be killed as one.
    detached: true,
    stdio: ['ignore', logFd, logFd, 'ipc'],
    env: engineEnvironment(environment),
  });
}

async function identify(child: ChildProcess): Promise<ProcessIdentity> {
  const identity = child.pid === undefined ? null : await identifyProcess(child.pid);
  if (identity === null) throw new EngineStartError('INTERNAL', 'The engine process could not be started.');
  return identity;
}

async function waitUntilReady(child: ChildProcess, onExit: Promise<EngineExit>, onProgress?: (progress: number) => void): Promise<EngineReady> {
  const { promise, resolve, reject } = Promise.withResolvers<EngineReady>();
  const onMessage = (received: unknown): void => {
    const message = readMessage(received);
    if (message === null) reject(new EngineStartError('INTERNAL', 'The engine said something that is not understood.'));
    else if (message.type === 'loading') onProgress?.(message.progress);
    else if (message.type === 'ready') resolve(message);
    else reject(new EngineStartError(message.code, message.message));
  };
  child.on('message', onMessage);
  try {
    return await Promise.race([promise, onExit.then((exit) => Promise.reject(explainExit(exit)))]);
  } finally {
    child.off('message', onMessage);
  }
}

function explainExit({ code, signal }: EngineExit): EngineStartError {
  const known = Object.entries(engineExitCodes).find(([, exitCode]) => exitCode === code)?.[0] as EngineFailureCode | undefined;
  const how = signal === null ? `exit code ${code ?? 'unknown'}` : `signal ${signal}`;
  return new EngineStartError(known ?? 'INTERNAL', `The engine ended before it was ready (${how}); its log says more.`);
}

async function stopChild(child: ChildProcess, onExit: Promise<EngineExit>, drainMs: number, signal?: AbortSignal): Promise<EngineExit> {
  const kill = (): void => tellChild(child, 'SIGKILL');
  const timer = setTimeout(kill, drainMs + endGraceMs);
  signal?.addEventListener('abort', kill, { once: true });
  if (signal?.aborted) kill();
  tell(child, { type: 'stop', drainMs });
  const exit = await onExit;
  clearTimeout(timer);
  signal?.removeEventListener('abort', kill);
  return exit;
}

/** Engines that this process has, by process group: whichever way it ends, it leaves none that was not released. */
const held = new Set<number>();

/** Until `onExit`, or until the function that this answers is called, the engine ends with this process. */
export function holdEngine(pid: number, onExit: Promise<EngineExit>): () => void {
  if (!process.listeners('exit').includes(endHeld)) process.once('exit', endHeld);
  held.add(pid);
  const letGo = (): void => void held.delete(pid);
  void onExit.then(letGo);
  return letGo;
}

function endHeld(): void {
  for (const pid of held) signalGroup(pid, 'SIGKILL');
}

async function releaseChild(child: ChildProcess, graceMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const message: ToEngine = { type: 'release', graceMs };
  if (!child.connected) throw new Error('the engine cannot be told anything any more');
  child.send(message, (error) => (error ? reject(error) : resolve(undefined)));
  await promise;
  child.disconnect();
  child.unref();
}

function tell(child: ChildProcess, message: ToEngine): void {
  // A failed delivery means that the process is gone, which `onExit` reports.
  if (child.connected) child.send(message, () => undefined);
}
