import { readFileSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';

export type SeenProcess = { pid: number; command: string };

/** Living processes (Linux) whose command line names `text`; zombies have none, so they do not count. */
export async function processesNaming(text: string): Promise<SeenProcess[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
  const seen = await Promise.all(
    names.map(async (name) => ({ pid: Number(name), command: (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ') })),
  );
  return seen.filter(({ command }) => command.includes(text));
}

/** Living processes whose parent is `pid`. */
export async function childrenOf(pid: number): Promise<number[]> {
  const names = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const stats = await Promise.all(names.map(async (name) => ({ pid: Number(name), stat: await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '') })));
  // The command in parentheses may hold anything; what follows it is `state ppid`.
  return stats.filter(({ stat }) => stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(pid)).map((entry) => entry.pid);
}

/** A process that has ended and that nobody has reaped yet counts as ended. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    if (process.platform !== 'linux') return true;
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}

/** Engine processes that this service process has started; their title replaces the command line. */
export async function enginesOf(servicePid: number): Promise<number[]> {
  const children = new Set(await childrenOf(servicePid));
  return (await processesNaming('llm-manager-engine')).map(({ pid }) => pid).filter((pid) => children.has(pid));
}

/** Paths of the files that a process has open (Linux). */
export async function openFilesOf(pid: number): Promise<string[]> {
  const names = await readdir(`/proc/${pid}/fd`);
  // One that is closed meanwhile has no name.
  return await Promise.all(names.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
}
