import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

export type ChildProgram = {
  readonly process: ChildProcess;
  readonly pid: number;
  /** The next line of its standard output, parsed as JSON. */
  nextLine(): Promise<Record<string, unknown>>;
  kill(signal: NodeJS.Signals): Promise<void>;
};

/** Runs a TypeScript program of the tests in a real process, which tests may kill. */
export function startChildProgram(file: string, args: readonly string[], identity: { uid?: number; gid?: number } = {}): ChildProgram {
  const child = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'inherit'], env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'] }, ...identity });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    process: child,
    pid: child.pid ?? 0,
    nextLine: async () => {
      const line = await lines.next();
      if (line.done) throw new Error(`${file} ended without saying more`);
      return JSON.parse(line.value) as Record<string, unknown>;
    },
    kill: async (signal) => {
      child.kill(signal);
      await ended;
    },
  };
}
