import type { StatsFs } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { dirname } from 'node:path';
import type { Clock } from '../../shared/clock.ts';
import type { DeploymentUse, DiskSample, ResourcesSample } from '../../shared/resources-sample.ts';
import type { CpuTimes, Host, NetworkCounters } from './host.ts';
import type { GpuSource } from './gpu-program.ts';
import { percent, ProcessFigures } from './process-figures.ts';

export type WatchedDisk = { path: string; purpose: DiskSample['purpose'] };

export type SamplerDeps = {
  host: Host;
  gpus: GpuSource;
  clock: Clock;
  disks: readonly WatchedDisk[];
  /** Bytes that unfinished downloads still need under this path. */
  reservedBytes: (path: string) => Promise<number>;
  deployments: () => Promise<readonly DeploymentUse[]>;
};

/** Takes one sample of everything; shares and speeds are those since the sample before. */
export class Sampler {
  readonly #deps: SamplerDeps;
  readonly #cores = availableParallelism();
  readonly #cpuModel = cpus()[0]?.model.trim() ?? 'unknown';
  readonly #process: ProcessFigures;
  #cpu: CpuTimes | null = null;
  #network: { counters: NetworkCounters; atMs: number } | null = null;

  constructor(deps: SamplerDeps) {
    this.#deps = deps;
    this.#process = new ProcessFigures(deps.host, this.#cores);
  }

  start(): void {
    this.#process.start();
  }

  stop(): void {
    this.#process.stop();
  }

  async sample(): Promise<ResourcesSample> {
    const { host, gpus, deployments, disks, clock } = this.#deps;
    const [memory, cpuPercent, network, own, gpuSamples, uses, diskSamples] = await Promise.all([
      host.memory(),
      this.#cpuPercent(),
      this.#networkSpeed(),
      this.#process.read(),
      gpus.gpus(),
      deployments(),
      Promise.all(disks.map((disk) => this.#disk(disk))),
    ]);
    const [one = 0, five = 0, fifteen = 0] = loadavg();
    return {
      cpu: { model: this.#cpuModel, cores: this.#cores, percent: cpuPercent, loadAverage: [one, five, fifteen] },
      memory: { ...memory, usedBytes: memory.totalBytes - memory.availableBytes },
      disks: diskSamples.filter((disk) => disk !== null),
      gpus: gpuSamples,
      network,
      process: own,
      deployments: uses,
      collectedAt: clock.now().toISOString(),
    };
  }

  async #cpuPercent(): Promise<number> {
    const now = await this.#deps.host.cpuTimes();
    const before = this.#cpu;
    this.#cpu = now;
    const total = before ? now.total - before.total : 0;
    return before && total > 0 ? percent((now.busy - before.busy) / total) : 0;
  }

  async #networkSpeed(): Promise<ResourcesSample['network']> {
    const counters = await this.#deps.host.network();
    const before = this.#network;
    const atMs = this.#deps.clock.monotonicMs();
    this.#network = counters && { counters, atMs };
    if (!counters || !before || atMs <= before.atMs) return null;
    const perSecond = (now: number, then: number): number => Math.max(0, Math.round((now - then) / ((atMs - before.atMs) / 1000)));
    return {
      receivedBytesPerSecond: perSecond(counters.receivedBytes, before.counters.receivedBytes),
      sentBytesPerSecond: perSecond(counters.sentBytes, before.counters.sentBytes),
    };
  }

  async #disk({ path, purpose }: WatchedDisk): Promise<DiskSample | null> {
    const stats = await statfsOfNearest(path);
    if (!stats) return null;
    const totalBytes = stats.blocks * stats.bsize;
    const availableBytes = stats.bavail * stats.bsize;
    // Without a database the other figures are still worth having.
    const reservedBytes = await this.#deps.reservedBytes(path).catch(() => 0);
    // What only root may still use counts as neither available nor used.
    const usedBytes = totalBytes - stats.bfree * stats.bsize;
    return { path, purpose, totalBytes, availableBytes, usedBytes, reservedBytes };
  }
}

/** A folder that is made later lies on the disk of the one that it will be made in. */
async function statfsOfNearest(path: string): Promise<StatsFs | null> {
  for (let folder = path; ; folder = dirname(folder)) {
    const stats = await statfs(folder).catch(() => null);
    if (stats || folder === dirname(folder)) return stats;
  }
}
