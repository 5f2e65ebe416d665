import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';

export type ProcessUse = { cpuPercent: number | null; memoryBytes: number | null };

/** USER_HZ is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;
const pageBytes = 4096;
const psTimeoutMs = 2_000;

/** Reads what one process uses; the processor's share is that between two readings, of all cores together. */
export class ProcessMeter {
  readonly #pid: number;
  #last: { atMs: number; cpuSeconds: number } | null = null;

  constructor(pid: number) {
    this.#pid = pid;
  }

  async read(): Promise<ProcessUse> {
    if (process.platform !== 'linux') return await readByPs(this.#pid);
    try {
      const stat = await readFile(`/proc/${this.#pid}/stat`, 'utf8');
      // proc(5); counted from behind the name, which may hold anything: 14 utime, 15 stime, 24 resident pages.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number);
      const cpuSeconds = ((fields[11] ?? 0) + (fields[12] ?? 0)) / ticksPerSecond;
      return { cpuPercent: this.#share(cpuSeconds), memoryBytes: (fields[21] ?? 0) * pageBytes };
    } catch {
      // It has ended.
      return { cpuPercent: null, memoryBytes: null };
    }
  }

  #share(cpuSeconds: number): number | null {
    const atMs = performance.now();
    const before = this.#last;
    this.#last = { atMs, cpuSeconds };
    if (before === null || atMs <= before.atMs) return null;
    const seconds = (atMs - before.atMs) / 1000;
    const percent = ((cpuSeconds - before.cpuSeconds) / seconds / availableParallelism()) * 100;
    return Math.min(100, Math.max(0, Math.round(percent * 10) / 10));
  }
}

async function readByPs(pid: number): Promise<ProcessUse> {
  try {
    const options = { timeout: psTimeoutMs, env: { PATH: '/bin:/usr/bin', LC_ALL: 'C' } };
    const { stdout } = await promisify(execFile)('ps', ['-o', '%cpu=,rss=', '-p', String(pid)], options);
    const [cpu, kibibytes] = stdout.trim().split(/\s+/).map(Number);
    if (cpu === undefined || kibibytes === undefined || Number.isNaN(cpu) || Number.isNaN(kibibytes)) return { cpuPercent: null, memoryBytes: null };
    return { cpuPercent: Math.min(100, cpu / availableParallelism()), memoryBytes: kibibytes * 1024 };
  } catch {
    return { cpuPercent: null, memoryBytes: null };
  }
}
