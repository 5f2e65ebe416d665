import type { Clock } from '../../shared/clock.ts';
import type { GpuSample } from '../../shared/resources-sample.ts';
import { figure, GpuProgram, type GpuProgramOptions, type GpuSource } from './gpu-program.ts';

const processesMaxAgeMs = 2_000;
const mebibyte = 1024 ** 2;

const gpuQuery = 'index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw';

/** NVIDIA's graphics cards as `nvidia-smi` tells of them; none where there is no such program. */
export class NvidiaSmi implements GpuSource {
  readonly #clock: Clock;
  readonly #program: GpuProgram;
  #processes: { atMs: number; bytes: ReadonlyMap<number, number> } | null = null;
  #hasGpus = false;

  constructor(options: GpuProgramOptions) {
    this.#clock = options.clock;
    this.#program = new GpuProgram('nvidia-smi', options);
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
    const printed = await this.#program.ask([...args, '--format=csv,noheader,nounits']);
    return (printed ?? '').split('\n').filter((line) => line.trim() !== '');
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
