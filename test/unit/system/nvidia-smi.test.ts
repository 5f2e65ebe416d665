import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { NvidiaSmi } from '../../../src/domains/system/nvidia-smi.ts';
import { createManualClock } from '../../support/manual-clock.ts';

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmm-nvidia-'));
});
afterEach(async () => {
  await rm(folder, { recursive: true });
});

/** A program in place of NVIDIA's that notes each call. */
async function install(script: string): Promise<void> {
  const file = join(folder, 'nvidia-smi-of-test');
  await writeFile(file, `#!/bin/sh\necho "$*" >> '${join(folder, 'calls')}'\n${script}\n`);
  await chmod(file, 0o755);
}

async function calls(): Promise<number> {
  const text = await readFile(join(folder, 'calls'), 'utf8').catch(() => '');
  return text.split('\n').filter((line) => line !== '').length;
}

const clock = createManualClock();

it('reads sizes in bytes and takes what the driver does not tell as unknown', async () => {
  await install(`case "$*" in *query-gpu*) printf '0, GPU-aaa, NVIDIA H200, 143771, 1024, 37, 41, 112.50\\n1, GPU-bbb, Tesla K80, 11441, 0, [N/A], [Not Supported], [N/A]\\n';; *) printf '4242, 1000\\n4242, 24\\n17, [N/A]\\n';; esac`);
  const smi = new NvidiaSmi({ clock, command: join(folder, 'nvidia-smi-of-test') });
  expect(await smi.gpus()).toEqual([
    { index: 0, uuid: 'GPU-aaa', name: 'NVIDIA H200', memoryTotalBytes: 143_771 * 1024 ** 2, memoryUsedBytes: 1024 ** 3, utilizationPercent: 37, temperatureCelsius: 41, powerWatts: 112.5 },
    { index: 1, uuid: 'GPU-bbb', name: 'Tesla K80', memoryTotalBytes: 11_441 * 1024 ** 2, memoryUsedBytes: 0, utilizationPercent: null, temperatureCelsius: null, powerWatts: null },
  ]);
  expect(await smi.memoryOf(4242)).toBe(1024 ** 3);
  expect(await smi.memoryOf(17)).toBeNull();
  expect(await calls()).toBe(2);
});

it('reads what a real card says: an H100 with driver 580.159, busy with one program', async () => {
  // Recorded; the program was PyTorch, filling a tensor of 2 GiB over and over.
  await install(`case "$*" in *query-gpu*) printf '0, GPU-03e2a857-4a0e-4bb9-ade6-08b3be6e2454, NVIDIA H100 80GB HBM3, 81559, 19053, 99, 45, 429.58\\n';; *) printf '445, 19044\\n';; esac`);
  const smi = new NvidiaSmi({ clock, command: join(folder, 'nvidia-smi-of-test') });
  expect(await smi.gpus()).toEqual([
    { index: 0, uuid: 'GPU-03e2a857-4a0e-4bb9-ade6-08b3be6e2454', name: 'NVIDIA H100 80GB HBM3', memoryTotalBytes: 85_520_809_984, memoryUsedBytes: 19_978_518_528, utilizationPercent: 99, temperatureCelsius: 45, powerWatts: 429.58 },
  ]);
  expect(await smi.memoryOf(445)).toBe(19_969_081_344);
});

describe('without a driver', () => {
  it('looks for the program again only after minutes', async () => {
    const time = createManualClock();
    const smi = new NvidiaSmi({ clock: time, command: join(folder, 'nvidia-smi-of-test') });
    expect(await smi.gpus()).toEqual([]);
    await install(`printf '0, GPU-aaa, Late card, 100, 1, 1, 1, 1\\n'`);
    expect(await smi.gpus()).toEqual([]);
    expect(await calls()).toBe(0);
    time.advance(5 * 60_000);
    expect(await smi.gpus()).toHaveLength(1);
  });

  it('tells a failing program once and leaves it alone for a while', async () => {
    const faults: unknown[] = [];
    await install('echo "NVIDIA-SMI has failed because it could not communicate with the driver"; exit 9');
    const smi = new NvidiaSmi({ clock, command: join(folder, 'nvidia-smi-of-test'), onFault: (error) => faults.push(error) });
    expect(await smi.gpus()).toEqual([]);
    expect(await smi.gpus()).toEqual([]);
    expect(faults).toHaveLength(1);
    expect(await calls()).toBe(1);
  });

  it('gives up on a program that hangs', async () => {
    const faults: unknown[] = [];
    await install('exec sleep 60');
    const smi = new NvidiaSmi({ clock, command: join(folder, 'nvidia-smi-of-test'), limitMs: 100, onFault: (error) => faults.push(error) });
    expect(await smi.gpus()).toEqual([]);
    expect(faults).toMatchObject([{ killed: true }]);
  });
});
