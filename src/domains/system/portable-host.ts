import { readdir } from 'node:fs/promises';
import { cpus, freemem, totalmem } from 'node:os';
import type { Host } from './host.ts';

/** For macOS and whatever else has no /proc: what Node itself tells. Swap and network traffic are not known. */
export function createPortableHost(): Host {
  return {
    memory: () => Promise.resolve({ totalBytes: totalmem(), availableBytes: freemem(), swapTotalBytes: 0, swapUsedBytes: 0 }),
    cpuTimes: () => {
      const times = cpus().map((cpu) => cpu.times);
      const total = times.reduce((sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq, 0);
      const idle = times.reduce((sum, time) => sum + time.idle, 0);
      return Promise.resolve({ busy: total - idle, total });
    },
    network: () => Promise.resolve(null),
    openFiles: async () => (await readdir('/dev/fd').catch(() => null))?.length ?? null,
  };
}
