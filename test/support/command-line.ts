import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { eventually } from './eventually.ts';
import { serviceEnvironment } from './service-process.ts';

const mainFile = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const direct: readonly string[] = [process.execPath, '--disable-warning=ExperimentalWarning', mainFile];

export type CommandOptions = {
  dataDir: string;
  env?: Readonly<Record<string, string>>;
  input?: string;
  /** What stands before the arguments; default: this Node on src/main.ts. */
  program?: readonly string[];
  cwd?: string;
};

export type Finished = { code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string };

export type RunningCommand = {
  readonly pid: number;
  stdout(): string;
  stderr(): string;
  kill(signal: NodeJS.Signals): void;
  readonly finished: Promise<Finished>;
};

/** A command as a script runs it: pipes, and a standard input that ends. */
export function startCommand(args: readonly string[], options: CommandOptions): RunningCommand {
  const [program = '', ...before] = options.program ?? direct;
  const child = spawn(program, [...before, ...args], {
    env: serviceEnvironment(options.dataDir, options.env),
    cwd: options.cwd ?? options.dataDir,
    stdio: 'pipe',
  });
  const text = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text.stdout += chunk));
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => (text.stderr += chunk));
  // A command that reads nothing may be gone before its input is written.
  child.stdin.on('error', () => undefined).end(options.input ?? '');
  const finished = (once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>).then(([code, signal]) => ({ code, signal, ...text }));
  return { pid: child.pid ?? -1, stdout: () => text.stdout, stderr: () => text.stderr, kill: (signal) => void child.kill(signal), finished };
}

export async function runCommand(args: readonly string[], options: CommandOptions): Promise<Finished> {
  return await startCommand(args, options).finished;
}

export type Terminal = {
  readonly pid: number;
  /** Everything that the terminal got so far, control characters included. */
  screen(): string;
  type(text: string): void;
  /** Waits for the text in what came after `from`, and answers where it ends. */
  see(text: string | RegExp, from?: number): Promise<number>;
  readonly ended: Promise<number | null>;
  kill(): void;
};

const quote = (word: string): string => `'${word.replaceAll("'", String.raw`'\''`)}'`;
const seeMs = 60_000;

/** A command in a pseudo-terminal, as a person has it; `script` of util-linux makes that. */
export function openTerminal(args: readonly string[], options: CommandOptions): Terminal {
  const command = [...(options.program ?? direct), ...args].map(quote).join(' ');
  const child = spawn('script', ['--quiet', '--flush', '--return', '--command', `exec ${command}`, '/dev/null'], {
    env: { TERM: 'xterm', SHELL: '/bin/sh', ...serviceEnvironment(options.dataDir, options.env) },
    cwd: options.cwd ?? options.dataDir,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
  child.stdin.on('error', () => undefined);
  const ended = (once(child, 'close') as Promise<[number | null]>).then(([code]) => code);
  return {
    pid: child.pid ?? -1,
    screen: () => text,
    type: (typed) => void child.stdin.write(typed),
    async see(wanted, from = 0) {
      const find = (): number | null => {
        const rest = text.slice(from);
        const found = typeof wanted === 'string' ? { index: rest.indexOf(wanted), length: wanted.length } : { index: rest.search(wanted), length: wanted.exec(rest)?.[0].length ?? 0 };
        return found.index < 0 ? null : from + found.index + found.length;
      };
      try {
        return await eventually(`the terminal shows ${String(wanted)}`, find, seeMs);
      } catch (error) {
        throw new Error(`${String(error)}; it shows:\n${text.slice(-2_000)}`, { cause: error });
      }
    },
    ended,
    kill: () => void child.kill('SIGKILL'),
  };
}

/** Each line of the text as JSON; a line that is none fails. */
export function jsonLines(text: string): Record<string, unknown>[] {
  return text.trimEnd().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}
