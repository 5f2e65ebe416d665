import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readCgroupMemory, within } from './cgroup-memory.ts';
import type { CpuTimes, Host, HostMemory, NetworkCounters } from './host.ts';

/** `/` but for tests, which lay out a machine of their own. */
export function createLinuxHost(root = '/'): Host {
  const proc = (path: string): Promise<string> => readFile(join(root, 'proc', path), 'utf8');
  return {
    memory: async () => {
      const [info, cgroup] = await Promise.all([proc('meminfo').then(parseMemory), readCgroupMemory(root)]);
      return within(info, cgroup);
    },
    cpuTimes: async () => parseCpuTimes(await proc('stat')),
    network: async () => parseNetwork(await proc('net/dev')),
    openFiles: async () => (await readdir(join(root, 'proc/self/fd'))).length,
  };
}

function parseMemory(text: string): HostMemory {
  const kibibytes = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
  const swapTotalBytes = kibibytes('SwapTotal') * 1024;
  return {
    totalBytes: kibibytes('MemTotal') * 1024,
    availableBytes: kibibytes('MemAvailable') * 1024,
    swapTotalBytes,
    swapUsedBytes: swapTotalBytes - kibibytes('SwapFree') * 1024,
  };
}

/** proc(5): user nice system idle iowait irq softirq steal; guests are part of user already. */
function parseCpuTimes(text: string): CpuTimes {
  const [first = ''] = text.split('\n', 1);
  const times = first.trim().split(/\s+/).slice(1, 9).map(Number);
  const total = times.reduce((sum, time) => sum + time, 0);
  return { busy: total - (times[3] ?? 0) - (times[4] ?? 0), total };
}

function parseNetwork(text: string): NetworkCounters {
  const sum = { receivedBytes: 0, sentBytes: 0 };
  for (const line of text.split('\n').slice(2)) {
    const colon = line.indexOf(':');
    // Traffic of the machine with itself is no network traffic.
    if (colon === -1 || line.slice(0, colon).trim() === 'lo') continue;
    const columns = line.slice(colon + 1).trim().split(/\s+/).map(Number);
    sum.receivedBytes += columns[0] ?? 0;
    sum.sentBytes += columns[8] ?? 0;
  }
  return sum;
}
