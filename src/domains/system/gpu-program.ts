import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Clock } from '../../shared/clock.ts';
import type { GpuSample } from '../../shared/resources-sample.ts';
import { systemErrorCode } from '../../shared/system-error.ts';

const run = promisify(execFile);

const limitMsDefault = 2_000;
/** Looking for a program that is not there costs 8 ms each time; drivers are rarely installed while we run. */
const absentForMs = 5 * 60_000;
/** After an error or a time-out: a driver that hangs must not be asked every two seconds. */
const failedForMs = 60_000;
const outputBytesMax = 1024 ** 2;

/** Graphics cards of one maker. */
export type GpuSource = {
  gpus(): Promise<GpuSample[]>;
  /** Bytes that a process holds on all of them together; null where that cannot be told. */
  memoryOf(pid: number): Promise<number | null>;
};

export type GpuProgramOptions = { clock: Clock; command?: string; limitMs?: number; onFault?: (error: unknown) => void };

/** A maker's own program that tells of its cards. Where it is missing or fails it is left alone for a while. */
export class GpuProgram {
  readonly #clock: Clock;
  readonly #command: string;
  readonly #limitMs: number;
  readonly #onFault: (error: unknown) => void;
  #askAgainAtMs = 0;

  constructor(usualCommand: string, { clock, command = usualCommand, limitMs = limitMsDefault, onFault = () => {} }: GpuProgramOptions) {
    this.#clock = clock;
    this.#command = command;
    this.#limitMs = limitMs;
    this.#onFault = onFault;
  }

  /** What it prints; null where it cannot be asked now. */
  async ask(args: readonly string[]): Promise<string | null> {
    if (this.#clock.monotonicMs() < this.#askAgainAtMs) return null;
    try {
      const { stdout } = await run(this.#command, [...args], { timeout: this.#limitMs, killSignal: 'SIGKILL', maxBuffer: outputBytesMax });
      return stdout;
    } catch (error) {
      const isAbsent = systemErrorCode(error) === 'ENOENT';
      this.#askAgainAtMs = this.#clock.monotonicMs() + (isAbsent ? absentForMs : failedForMs);
      if (!isAbsent) this.#onFault(error);
      return null;
    }
  }
}

/** All cards of the machine: those of each maker in turn. */
export function allGpus(sources: readonly GpuSource[]): GpuSource {
  return {
    gpus: async () => (await Promise.all(sources.map((source) => source.gpus()))).flat(),
    memoryOf: async (pid) => {
      const held = (await Promise.all(sources.map((source) => source.memoryOf(pid)))).filter((bytes) => bytes !== null);
      return held.length === 0 ? null : held.reduce((sum, bytes) => sum + bytes, 0);
    },
  };
}

/** `[N/A]`, `N/A`, `[Not Supported]` and the like are no figures. */
export function figure(text: unknown): number | null {
  const value = typeof text === 'string' && text.trim() !== '' ? Number(text) : Number.NaN;
  return Number.isFinite(value) ? value : null;
}
