import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { allGpus } from '../../../src/domains/system/gpu-program.ts';
import { NvidiaSmi } from '../../../src/domains/system/nvidia-smi.ts';
import { parseRocmSmi, RocmSmi } from '../../../src/domains/system/rocm-smi.ts';
import { createManualClock } from '../../support/manual-clock.ts';

/** As printed on machines with these cards: a Radeon RX 7900 XT, a card without a series, and one built into a processor. */
const printed = {
  card0: {
    'GPU use (%)': '37', 'VRAM Total Memory (B)': '21458059264', 'VRAM Total Used Memory (B)': '27856896', 'Card Series': 'Radeon RX 7900 XT', 'Card Model': '0x744c',
    'Unique ID': '0x3d4595974090853c', 'Temperature (Sensor edge) (C)': '46.0', 'Temperature (Sensor junction) (C)': '52.0', 'Average Graphics Package Power (W)': '17.0', 'GFX Version': 'gfx1100',
  },
  card1: { 'Card Series': 'N/A', 'Card Model': '0x7551', 'Unique ID': 'N/A', 'GUID': '26967', 'GPU use (%)': '3', 'VRAM Total Memory (B)': '34208743424', 'VRAM Total Used Memory (B)': '29225381888' },
  card2: { 'Device Name': 'Phoenix3', 'Unique ID': 'N/A', 'Temperature (Sensor edge) (C)': '31.0', 'Current Socket Graphics Package Power (W)': '7.222', 'GPU use (%)': 'N/A', 'VRAM Total Memory (B)': '4294967296', 'VRAM Total Used Memory (B)': '72495104' },
  system: { 'Driver version': '6.7.0' },
};

it('reads the cards of AMD under all names that its versions give to a figure', () => {
  expect(parseRocmSmi(`WARNING: AMD GPU device(s) is/are in a low-power state.\n${JSON.stringify(printed)}\n`)).toEqual([
    { index: 0, uuid: '0x3d4595974090853c', name: 'Radeon RX 7900 XT', memoryTotalBytes: 21_458_059_264, memoryUsedBytes: 27_856_896, utilizationPercent: 37, temperatureCelsius: 52, powerWatts: 17 },
    { index: 1, uuid: '26967', name: '0x7551', memoryTotalBytes: 34_208_743_424, memoryUsedBytes: 29_225_381_888, utilizationPercent: 3, temperatureCelsius: null, powerWatts: null },
    { index: 2, uuid: 'card2', name: 'Phoenix3', memoryTotalBytes: 4_294_967_296, memoryUsedBytes: 72_495_104, utilizationPercent: null, temperatureCelsius: 31, powerWatts: 7.222 },
  ]);
});

it.each(['', 'no JSON', '[1]', '{"card0":"flat"}', '{"card0":{"GPU use (%)":"1"}}', '{"gpu":{"VRAM Total Memory (B)":"1"}}'])('takes %j for no cards', (text) => {
  expect(parseRocmSmi(text)).toEqual([]);
});

it('puts the cards of all makers into one list', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'llmm-rocm-'));
  const install = async (name: string, output: string): Promise<string> => {
    await writeFile(join(folder, name), `#!/bin/sh\nprintf '%s\\n' '${output}'\n`);
    await chmod(join(folder, name), 0o755);
    return join(folder, name);
  };
  const clock = createManualClock();
  const nvidia = new NvidiaSmi({ clock, limitMs: 20_000, command: await install('nvidia', '0, GPU-aaa, NVIDIA H200, 143771, 1024, 37, 41, 112.50') });
  const amd = new RocmSmi({ clock, limitMs: 20_000, command: await install('amd', JSON.stringify({ card0: printed.card0 })) });
  const absent = new RocmSmi({ clock, command: join(folder, 'absent') });
  expect((await allGpus([nvidia, amd, absent]).gpus()).map(({ name }) => name)).toEqual(['NVIDIA H200', 'Radeon RX 7900 XT']);
  expect(await allGpus([amd, absent]).memoryOf(1)).toBeNull();
  await rm(folder, { recursive: true });
});
