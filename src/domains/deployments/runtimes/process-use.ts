import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { promisify } from 'node:util';

export type ProcessUse = { cpuPercent: number | null; memoryBytes: number | null };

/** USER_HZ is 100 on every Linux that Node runs on. */
const ticksPerSecond = 100;
const pageBytes = 4096;
const psTimeoutMs = 2_000;
/** A server of a model has a few at most. */
const descendantsMax = 256;

/** Reads what a process and its descendants use; the processor's share is that between two readings, of all cores together. */
export class ProcessMeter {
  readonly #pid: number;
  #last: { atMs: number; cpuSeconds: number } | null = null;

  constructor(pid: number) {
    this.#pid = pid;
  }

  async read(): Promise<ProcessUse> {
    if (process.platform !== 'linux') return await readByPs(this.#pid);
    const own = await readStat(this.#pid);
    // It has ended.
    if (own === null) return { cpuPercent: null, memoryBytes: null };
    const others = await Promise.all((await descendantsOf(this.#pid)).map((pid) => readStat(pid)));
    const all = [own, ...others.filter((stat) => stat !== null)];
    const total = (of: (stat: Stat) => number): number => all.reduce((sum, stat) => sum + of(stat), 0);
    return { cpuPercent: this.#share(total(({ cpuSeconds }) => cpuSeconds)), memoryBytes: total(({ memoryBytes }) => memoryBytes) };
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

type Stat = { cpuSeconds: number; memoryBytes: number };

async function readStat(pid: number): Promise<Stat | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // proc(5); counted from behind the name, which may hold anything: 14 utime, 15 stime, 24 resident pages.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ').map(Number);
    return { cpuSeconds: ((fields[11] ?? 0) + (fields[12] ?? 0)) / ticksPerSecond, memoryBytes: (fields[21] ?? 0) * pageBytes };
  } catch {
    return null;
  }
}

/** None where the kernel does not list the children of a thread. */
async function descendantsOf(pid: number): Promise<number[]> {
  const found = [pid];
  // The list grows while it is gone through.
  for (let index = 0; index < found.length && index < descendantsMax; index += 1) found.push(...(await childrenOf(found[index] ?? 0)));
  return found.slice(1, descendantsMax);
}

async function childrenOf(pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => []);
  const lists = await Promise.all(threads.map((thread) => readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '')));
  return lists.flatMap((list) => list.split(' ').filter((text) => text !== '').map(Number));
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
