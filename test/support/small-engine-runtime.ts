import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { identifyProcess, isSameProcess, type ProcessIdentity } from '../../src/platform/process-identity.ts';
import type { ModelRuntime, RunningModel, RuntimeExit, RuntimeHandle, RuntimeStart } from '../../src/domains/deployments/runtime.ts';
import type { DeploymentConfig } from '../../src/domains/deployments/types.ts';
import { AppError } from '../../src/shared/errors.ts';
import { eventually } from './eventually.ts';

export type SmallEngineRuntime = ModelRuntime & { /** Of every engine that was ever started, in order. */ readonly pids: readonly number[] };

const program = join(process.cwd(), 'test', 'support', 'programs', 'small-engine.ts');

/** What it says that each engine takes. */
export const smallEngineBytes = 200_000_000;

/** Runs `small-engine.ts`; `environment` of a deployment tells it how to behave: MODE and HANG_FILE. */
export function createSmallEngineRuntime({ needsModel = false }: { needsModel?: boolean } = {}): SmallEngineRuntime {
  const pids: number[] = [];
  const formats = needsModel ? ['gguf'] : [];
  return {
    id: 'small',
    name: 'small engine',
    capabilities: { needsModel, formats, adminOnly: false },
    pids,
    probe: () => Promise.resolve({ id: 'small', name: 'small engine', available: true, version: '1', detail: null, needsModel, formats, engines: [] }),
    validate: (config: DeploymentConfig) => (config.image === undefined ? [] : [{ field: 'config.image', message: 'is not used' }]),
    start: (request, signal) => start(request, signal, pids),
    adopt: async ({ name, handle, keepsake }) => {
      const identity = { pid: handle.pid ?? 0, startTime: handle.startTime ?? '' };
      if (!(await isSameProcess(identity))) return null;
      const signalIt = (by: NodeJS.Signals): void => void process.kill(identity.pid, by);
      const exited = endOf(identity).then((): RuntimeExit => ({ code: null, signal: null, reason: null }));
      return toModel({ name, handle, exited, baseUrl: String(keepsake['baseUrl']), kill: () => signalIt('SIGKILL'), ask: () => signalIt('SIGTERM'), release: () => undefined });
    },
    endOrphan: async (handle) => {
      if (handle.pid === null || handle.startTime === null) return;
      const identity = { pid: handle.pid, startTime: handle.startTime };
      if (await isSameProcess(identity)) process.kill(handle.pid, 'SIGKILL');
      await eventually('the orphan is gone', async () => !(await isSameProcess(identity)));
    },
  };
}

async function start(request: RuntimeStart, signal: AbortSignal, pids: number[]): Promise<RunningModel> {
  const logFd = openSync(request.logFile, 'a');
  const { MODE = 'serve', HANG_FILE = '' } = request.config.environment ?? {};
  const child = spawn(process.execPath, [program, MODE, HANG_FILE], { detached: true, stdio: ['ignore', logFd, logFd, 'ipc'], env: {} });
  closeSync(logFd);
  child.unref();
  const { pid = 0 } = child;
  pids.push(pid);
  const exited = once(child, 'exit').then(([code, by]): RuntimeExit => ({ code: code as number | null, signal: by as string | null, reason: null }));
  const kill = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  try {
    const identity = await identifyProcess(pid);
    const handle: RuntimeHandle = { runtime: 'small', pid, startTime: identity?.startTime ?? null, containerId: null };
    await request.onHandle(handle);
    const ready = once(child, 'message').then(([message]) => message as { port: number });
    const first = await Promise.race([ready, exited]);
    signal.throwIfAborted();
    if (!('port' in first)) throw new AppError('START_FAILED', `The engine ended before it was ready (exit code ${first.code ?? 'none'}).`);
    const release = (): void => {
      child.disconnect();
      child.unref();
    };
    return toModel({ name: request.name, handle, exited, baseUrl: `http://127.0.0.1:${first.port}`, kill, ask: () => void child.kill('SIGTERM'), release });
  } catch (error) {
    kill();
    await exited;
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

async function endOf(identity: ProcessIdentity): Promise<void> {
  while (await isSameProcess(identity)) await delay(20, undefined, { ref: false });
}

type Running = { name: string; handle: RuntimeHandle; exited: Promise<RuntimeExit>; baseUrl: string; kill: () => void; ask: () => void; release: () => void };

function toModel({ name, handle, exited, baseUrl, kill, ask, release }: Running): RunningModel {
  return {
    baseUrl,
    model: name,
    keepsake: { baseUrl },
    release: async () => release(),
    headers: {},
    contextSize: null,
    handle,
    exited,
    check: async (signal) => {
      const answer = await fetch(`${baseUrl}/health`, { signal });
      if (answer.status !== 200) throw new Error(`/health answered ${answer.status}`);
    },
    use: () => Promise.resolve({ cpuPercent: null, memoryBytes: smallEngineBytes, gpuMemoryBytes: null }),
    stop: async (drainMs, signal) => {
      if (drainMs === 0 || signal.aborted) kill();
      ask();
      const timer = setTimeout(kill, drainMs);
      signal.addEventListener('abort', kill, { once: true });
      await exited;
      clearTimeout(timer);
    },
  };
}
