import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { HostMemory } from './host.ts';

/** The tightest limit that a container or service manager has set; null = none. */
export type CgroupMemory = { limitBytes: number; usedBytes: number } | null;

type Layout = { folder: string; limit: string; used: string; /** In `memory.stat`: file cache that gives way. */ reclaimable: string };

/** Both versions: v2 has one tree, v1 one for memory alone. Every level up to the root may limit. */
export async function readCgroupMemory(root: string): Promise<CgroupMemory> {
  const groups = await readFile(join(root, 'proc/self/cgroup'), 'utf8').catch(() => '');
  let tightest: CgroupMemory = null;
  for (const layout of layoutsOf(groups, join(root, 'sys/fs/cgroup'))) {
    const level = await readLevel(layout);
    if (level && (tightest === null || level.limitBytes - level.usedBytes < tightest.limitBytes - tightest.usedBytes)) tightest = level;
  }
  return tightest;
}

/** The machine as this process may use it. */
export function within(machine: HostMemory, cgroup: CgroupMemory): HostMemory {
  if (cgroup === null || cgroup.limitBytes >= machine.totalBytes) return machine;
  const availableBytes = Math.max(0, Math.min(machine.availableBytes, cgroup.limitBytes - cgroup.usedBytes));
  return { ...machine, totalBytes: cgroup.limitBytes, availableBytes };
}

function layoutsOf(groups: string, mount: string): Layout[] {
  const lines = groups.split('\n').map((line) => line.split(':'));
  const v1 = lines.find(([, controllers]) => controllers?.split(',').includes('memory'));
  const v2 = lines.find(([number, controllers]) => number === '0' && controllers === '');
  const layouts: Layout[] = [];
  if (v1) {
    for (const folder of levelsOf(v1.slice(2).join(':'), join(mount, 'memory'))) {
      layouts.push({ folder, limit: 'memory.limit_in_bytes', used: 'memory.usage_in_bytes', reclaimable: 'total_inactive_file' });
    }
  }
  if (v2) {
    for (const folder of levelsOf(v2.slice(2).join(':'), mount)) layouts.push({ folder, limit: 'memory.max', used: 'memory.current', reclaimable: 'inactive_file' });
  }
  return layouts;
}

/** A container may see its own group at the mount's root while its path names one that is not visible inside. */
function levelsOf(path: string, mount: string): string[] {
  const levels: string[] = [];
  for (let level = path === '' ? '/' : path; ; level = dirname(level)) {
    levels.push(join(mount, level));
    if (level === '/' || level === '.') return levels;
  }
}

async function readLevel({ folder, limit, used, reclaimable }: Layout): Promise<CgroupMemory> {
  try {
    const limitBytes = Number(await readFile(join(folder, limit), 'utf8'));
    // "max" is no number, and v1 writes a number larger than any memory.
    if (!Number.isFinite(limitBytes) || limitBytes >= 2 ** 60) return null;
    const [usage, stat] = await Promise.all([readFile(join(folder, used), 'utf8'), readFile(join(folder, 'memory.stat'), 'utf8').catch(() => '')]);
    const cache = Number(new RegExp(`^${reclaimable} (\\d+)$`, 'm').exec(stat)?.[1] ?? 0);
    return { limitBytes, usedBytes: Math.max(0, Number(usage) - cache) };
  } catch {
    return null;
  }
}
