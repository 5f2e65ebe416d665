import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

/**
 * A pid together with the moment in which its process began: pids are used again, also after a restart of the
 * machine, and a signal to a stranger is worse than an orphan. `startTime` is opaque and compared as a whole.
 */
export type ProcessIdentity = { pid: number; startTime: string };

/** What runs under `pid` now; null when nothing does (a process that has ended and was not reaped counts as ended). */
export async function identifyProcess(pid: number): Promise<ProcessIdentity | null> {
  const startTime = process.platform === 'linux' ? await readLinuxStartTime(pid) : await readPsStartTime(pid);
  return startTime === null ? null : { pid, startTime };
}

export async function isSameProcess(identity: ProcessIdentity): Promise<boolean> {
  return (await identifyProcess(identity.pid))?.startTime === identity.startTime;
}

async function readLinuxStartTime(pid: number): Promise<string | null> {
  try {
    const [stat, bootId] = await Promise.all([readFile(`/proc/${pid}/stat`, 'utf8'), readFile('/proc/sys/kernel/random/boot_id', 'utf8')]);
    // The name in parentheses may hold anything, also spaces and parentheses: fields are counted from its end.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // proc(5): field 3 is the state, field 22 the start in clock ticks since boot.
    const [state, ticks] = [fields[0], fields[19]];
    return ticks === undefined || state === 'Z' || state === 'X' ? null : `${bootId.trim()}:${ticks}`;
  } catch {
    return null;
  }
}

async function readPsStartTime(pid: number): Promise<string | null> {
  try {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=', '-o', 'lstart=', '-p', String(pid)], { env: { PATH: '/bin:/usr/bin', LC_ALL: 'C' } });
    const [state = '', ...startTime] = stdout.trim().split(/\s+/);
    return state === '' || state.startsWith('Z') ? null : startTime.join(' ');
  } catch {
    // ps exits with 1 when there is no such process.
    return null;
  }
}
