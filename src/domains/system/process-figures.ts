import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { ResourcesSample } from '../../shared/resources-sample.ts';
import type { Host } from './host.ts';

const resolutionMs = 20;

/** What this process itself uses; shares and delays are those since the last reading. */
export class ProcessFigures {
  readonly #host: Host;
  readonly #cores: number;
  readonly #delay = monitorEventLoopDelay({ resolution: resolutionMs });
  #last = { cpu: process.cpuUsage(), atMs: performance.now() };

  constructor(host: Host, cores: number) {
    this.#host = host;
    this.#cores = cores;
  }

  start(): void {
    this.#delay.enable();
  }

  stop(): void {
    this.#delay.disable();
  }

  async read(): Promise<ResourcesSample['process']> {
    const openFiles = await this.#host.openFiles().catch(() => null);
    return {
      pid: process.pid,
      uptimeSeconds: Math.round(process.uptime()),
      memoryBytes: process.memoryUsage.rss(),
      cpuPercent: this.#cpuPercent(),
      openFiles,
      eventLoopDelayMs: this.#eventLoopDelay(),
    };
  }

  #cpuPercent(): number {
    const { user, system } = process.cpuUsage(this.#last.cpu);
    const atMs = performance.now();
    const elapsedMs = Math.max(1, atMs - this.#last.atMs);
    this.#last = { cpu: process.cpuUsage(), atMs };
    return percent((user + system) / 1000 / elapsedMs / this.#cores);
  }

  /** The 99th percentile; the histogram counts its own interval in. */
  #eventLoopDelay(): number {
    const nanoseconds = this.#delay.count > 0 ? this.#delay.percentile(99) : 0;
    this.#delay.reset();
    return Math.max(0, Math.round((nanoseconds / 1e6 - resolutionMs) * 10) / 10);
  }
}

/** A share as 0..100 with one decimal. */
export function percent(share: number): number {
  return Math.min(100, Math.max(0, Math.round(share * 1000) / 10));
}
