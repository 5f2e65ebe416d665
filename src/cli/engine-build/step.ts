import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { FileHandle } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { AppError } from '../../shared/errors.ts';

export type Step = { program: string; args: readonly string[]; cwd: string };

export type StepOptions = {
  log: FileHandle;
  /** Where a person finds the log. */
  logFile: string;
  env: Readonly<Record<string, string | undefined>>;
  onLine?: (line: string) => void;
};

const killGraceMs = 2_000;
const saidMax = 300;

/** Ends the program with everything that it has started: a compiler has many children. */
function endGroup(pid: number | undefined): void {
  if (pid === undefined) return;
  const kill = (signal: NodeJS.Signals): void => {
    try {
      process.kill(-pid, signal);
    } catch {
      // It has ended by itself.
    }
  };
  kill('SIGTERM');
  setTimeout(() => kill('SIGKILL'), killGraceMs).unref();
}

/** Runs one program of a build, its output into the log; throws START_FAILED with its last error when it fails. */
export async function runStep({ program, args, cwd }: Step, { log, logFile, env, onLine }: StepOptions, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await log.write(`\n$ ${[program, ...args].join(' ')}\n`);
  // A group of its own: it ends as a whole, and a terminal's Ctrl-C reaches this process alone, which ends it.
  const child = spawn(program, args, { cwd, env: { ...env, LC_ALL: 'C' }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  const stop = (): void => endGroup(child.pid);
  signal.addEventListener('abort', stop, { once: true });
  let said = '';
  const read = async (stream: NodeJS.ReadableStream): Promise<void> => {
    for await (const line of createInterface({ input: stream, crlfDelay: Infinity })) {
      await log.write(`${line}\n`);
      if (/\berror\b/i.test(line) || said === '') said = line.trim().slice(0, saidMax);
      onLine?.(line);
    }
  };
  try {
    const [[code, killedBy]] = await Promise.all([once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>, read(child.stdout), read(child.stderr)]);
    signal.throwIfAborted();
    if (code !== 0) throw new AppError('START_FAILED', `${program} ended with ${code ?? killedBy ?? 'an error'}: ${said || 'it said nothing'} (${logFile} has all of it)`);
  } finally {
    signal.removeEventListener('abort', stop);
    // What a failed program has left running.
    stop();
  }
}
