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
const processesMaxAgeMs = 2_000;
const mebibyte = 1024 ** 2;

const gpuQuery = 'index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw';

export type NvidiaSmiOptions = { clock: Clock; command?: string; limitMs?: number; onFault?: (error: unknown) => void };

/** NVIDIA's graphics cards as `nvidia-smi` tells of them; none where there is no such program. */
export class NvidiaSmi {
  readonly #clock: Clock;
  readonly #command: string;
  readonly #limitMs: number;
  readonly #onFault: (error: unknown) => void;
  #askAgainAtMs = 0;
  #processes: { atMs: number; bytes: ReadonlyMap<number, number> } | null = null;
  #hasGpus = false;

  constructor({ clock, command = 'nvidia-smi', limitMs = limitMsDefault, onFault = () => {} }: NvidiaSmiOptions) {
    this.#clock = clock;
    this.#command = command;
    this.#limitMs = limitMs;
    this.#onFault = onFault;
  }

  async gpus(): Promise<GpuSample[]> {
    const lines = await this.#query([`--query-gpu=${gpuQuery}`]);
    const gpus = lines.flatMap((line) => parseGpu(line) ?? []);
    this.#hasGpus = gpus.length > 0;
    return gpus;
  }

  /** Bytes that a process holds on all cards together; null without a card or where the driver does not tell. */
  async memoryOf(pid: number): Promise<number | null> {
    if (!this.#hasGpus) return null;
    const now = this.#clock.monotonicMs();
    if (this.#processes === null || now - this.#processes.atMs > processesMaxAgeMs) {
      const lines = await this.#query(['--query-compute-apps=pid,used_memory']);
      this.#processes = { atMs: now, bytes: sumByProcess(lines) };
    }
    return this.#processes.bytes.get(pid) ?? null;
  }

  async #query(args: readonly string[]): Promise<string[]> {
    if (this.#clock.monotonicMs() < this.#askAgainAtMs) return [];
    try {
      const { stdout } = await run(this.#command, [...args, '--format=csv,noheader,nounits'], { timeout: this.#limitMs, killSignal: 'SIGKILL', maxBuffer: mebibyte });
      return stdout.split('\n').filter((line) => line.trim() !== '');
    } catch (error) {
      const isAbsent = systemErrorCode(error) === 'ENOENT';
      this.#askAgainAtMs = this.#clock.monotonicMs() + (isAbsent ? absentForMs : failedForMs);
      if (!isAbsent) this.#onFault(error);
      return [];
    }
  }
}

function parseGpu(line: string): GpuSample | null {
  const [index, uuid, name, total, used, utilization, temperature, power] = line.split(',').map((column) => column.trim());
  const memoryTotal = figure(total);
  if (uuid === undefined || name === undefined || memoryTotal === null) return null;
  return {
    index: Number(index),
    uuid,
    name,
    memoryTotalBytes: memoryTotal * mebibyte,
    memoryUsedBytes: (figure(used) ?? 0) * mebibyte,
    utilizationPercent: figure(utilization),
    temperatureCelsius: figure(temperature),
    powerWatts: figure(power),
  };
}

function sumByProcess(lines: readonly string[]): Map<number, number> {
  const bytes = new Map<number, number>();
  for (const line of lines) {
    const [pid, used] = line.split(',').map((column) => figure(column.trim()));
    if (pid !== null && pid !== undefined && used !== null && used !== undefined) bytes.set(pid, (bytes.get(pid) ?? 0) + used * mebibyte);
  }
  return bytes;
}

/** `[N/A]`, `[Not Supported]` and the like are no figures. */
function figure(text: string | undefined): number | null {
  const value = text === undefined || text === '' ? Number.NaN : Number(text);
  return Number.isFinite(value) ? value : null;
}
