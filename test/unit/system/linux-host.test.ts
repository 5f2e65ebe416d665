import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createLinuxHost } from '../../../src/domains/system/linux-host.ts';

const mebibyte = 1024 ** 2;
let root: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'llmm-host-'));
  await lay('proc/meminfo', 'MemTotal:       1048576 kB\nMemFree: 1 kB\nMemAvailable:    786432 kB\nSwapTotal:        2048 kB\nSwapFree:         1024 kB\n');
});
afterEach(async () => {
  await rm(root, { recursive: true });
});

async function lay(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await writeFile(join(root, path), text);
}

describe('memory', () => {
  it('is the whole machine where nothing limits it', async () => {
    await lay('proc/self/cgroup', '0::/user.slice\n');
    await lay('sys/fs/cgroup/user.slice/memory.max', 'max\n');
    expect(await createLinuxHost(root).memory()).toEqual({ totalBytes: 1024 * mebibyte, availableBytes: 768 * mebibyte, swapTotalBytes: 2 * mebibyte, swapUsedBytes: mebibyte });
  });

  it('is what a version 2 group allows, file cache counted as free', async () => {
    await lay('proc/self/cgroup', '0::/box\n');
    await lay('sys/fs/cgroup/box/memory.max', `${256 * mebibyte}\n`);
    await lay('sys/fs/cgroup/box/memory.current', `${200 * mebibyte}\n`);
    await lay('sys/fs/cgroup/box/memory.stat', `anon 1\ninactive_file ${50 * mebibyte}\n`);
    expect(await createLinuxHost(root).memory()).toMatchObject({ totalBytes: 256 * mebibyte, availableBytes: 106 * mebibyte });
  });

  it('obeys the tightest of nested groups', async () => {
    await lay('proc/self/cgroup', '0::/outer/inner\n');
    await lay('sys/fs/cgroup/outer/memory.max', `${128 * mebibyte}\n`);
    await lay('sys/fs/cgroup/outer/memory.current', `${28 * mebibyte}\n`);
    await lay('sys/fs/cgroup/outer/inner/memory.max', `${512 * mebibyte}\n`);
    await lay('sys/fs/cgroup/outer/inner/memory.current', '0\n');
    expect(await createLinuxHost(root).memory()).toMatchObject({ totalBytes: 128 * mebibyte, availableBytes: 100 * mebibyte });
  });

  it('is what a version 1 group allows, also where a container sees it at the root of the tree', async () => {
    await lay('proc/self/cgroup', '9:cpu,cpuacct:/\n4:memory:/docker/0123\n');
    await lay('sys/fs/cgroup/memory/memory.limit_in_bytes', `${64 * mebibyte}\n`);
    await lay('sys/fs/cgroup/memory/memory.usage_in_bytes', `${24 * mebibyte}\n`);
    await lay('sys/fs/cgroup/memory/memory.stat', `total_inactive_file ${4 * mebibyte}\n`);
    expect(await createLinuxHost(root).memory()).toMatchObject({ totalBytes: 64 * mebibyte, availableBytes: 44 * mebibyte });
  });

  it('takes the number that version 1 writes for "no limit" as none', async () => {
    await lay('proc/self/cgroup', '4:memory:/\n');
    await lay('sys/fs/cgroup/memory/memory.limit_in_bytes', '9223372036854771712\n');
    await lay('sys/fs/cgroup/memory/memory.usage_in_bytes', '1\n');
    expect((await createLinuxHost(root).memory()).totalBytes).toBe(1024 * mebibyte);
  });
});

describe('counters', () => {
  it('counts waiting for the disk as idle', async () => {
    await lay('proc/stat', 'cpu  100 10 50 800 30 5 5 0 70 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n');
    expect(await createLinuxHost(root).cpuTimes()).toEqual({ busy: 170, total: 1000 });
  });

  it('adds up every network interface but the loopback one', async () => {
    const line = (name: string, received: number, sent: number): string => `${name}: ${received} 1 0 0 0 0 0 0 ${sent} 1 0 0 0 0 0 0\n`;
    await lay('proc/net/dev', `Inter-| Receive\n face |bytes\n${line('    lo', 999, 999)}${line('  eth0', 100, 10)}${line('wlan0', 5, 7)}`);
    expect(await createLinuxHost(root).network()).toEqual({ receivedBytes: 105, sentBytes: 17 });
  });
});
