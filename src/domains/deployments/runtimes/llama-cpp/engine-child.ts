import type { ChildProcess } from 'node:child_process';
import type { EngineExit } from './local-engine.ts';

/** A process of this one's own, spawned `detached`: the leader of its process group. */
export async function exitOf(child: ChildProcess): Promise<EngineExit> {
  const { promise, resolve } = Promise.withResolvers<EngineExit>();
  child.once('exit', (code, signal) => resolve({ code, signal }));
  child.on('error', () => {
    // Emitted in place of `exit` when the process could not be made, beside it for a message that was not delivered.
    if (child.pid === undefined) resolve({ code: null, signal: null });
  });
  return await promise;
}

/** Does `work` with a child that was just spawned; when that fails or the signal aborts, nothing is left of the child before this rejects. */
export async function orKilled<T>({ child, onExit }: { child: ChildProcess; onExit: Promise<EngineExit> }, work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  const kill = (): void => tellChild(child, 'SIGKILL');
  signal.addEventListener('abort', kill, { once: true });
  try {
    const done = await work();
    signal.throwIfAborted();
    return done;
  } catch (error) {
    kill();
    await onExit;
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

/** To its whole process group; nothing once it is reaped, as its pid may belong to a stranger then. */
export function tellChild(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) signalGroup(child.pid, signal);
}

export function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // ESRCH: the group has ended.
  }
}
