import { expect, it } from '@jest/globals';
import { AppleGpu, toGpus } from '../../../src/domains/system/apple-gpu.ts';
import { createManualClock } from '../../support/manual-clock.ts';

/** As systeminformation 5.33 makes them of what macOS says. */
const appleSilicon = { controllers: [{ vendor: 'Apple', model: 'Apple M1 Max', bus: 'Built-In', vramDynamic: true, vram: null, deviceId: '', vendorId: '0x106b', external: false, cores: '32', metalVersion: '4' }], displays: [] };
const intelMac = {
  controllers: [
    { vendor: 'Intel', model: 'Intel UHD Graphics 630', bus: 'Built-In', vramDynamic: true, vram: 1536, deviceId: '0x3e9b', vendorId: '0x8086', external: false, cores: null, metalVersion: '3' },
    { vendor: 'AMD', model: 'AMD Radeon Pro 5300M', bus: 'PCIe', vramDynamic: false, vram: 4096, deviceId: '0x7340', vendorId: '0x1002', external: false, cores: null, metalVersion: '3' },
  ],
  displays: [],
};
const unknown = { utilizationPercent: null, temperatureCelsius: null, powerWatts: null };

it("says nothing of the memory of graphics that use the machine's", () => {
  expect(toGpus(appleSilicon)).toEqual([{ index: 0, uuid: 'mac-0', name: 'Apple M1 Max (32 cores)', memoryTotalBytes: null, memoryUsedBytes: null, ...unknown }]);
});

it('tells the size of memory that a card has of its own, and not how much of it is used', () => {
  expect(toGpus(intelMac)).toEqual([
    { index: 0, uuid: 'mac-0', name: 'Intel UHD Graphics 630', memoryTotalBytes: null, memoryUsedBytes: null, ...unknown },
    { index: 1, uuid: 'mac-1', name: 'AMD Radeon Pro 5300M', memoryTotalBytes: 4 * 1024 ** 3, memoryUsedBytes: null, ...unknown },
  ]);
});

it('tells the temperature where the machine has the sensor for it', () => {
  const [controller] = appleSilicon.controllers;
  expect(toGpus({ controllers: [{ ...controller, temperatureGpu: 48.25 }] })).toMatchObject([{ temperatureCelsius: 48.25 }]);
});

it('leaves out what it cannot make sense of, whatever comes', () => {
  for (const odd of [null, 7, 'text', {}, { controllers: 'none' }, { controllers: [null, 7, {}, { model: '' }, { model: 9 }] }]) expect(toGpus(odd)).toEqual([]);
  expect(toGpus({ controllers: [{ model: 'Some', bus: 'PCIe', vramDynamic: false, vram: -1, utilizationGpu: 'x', cores: {} }] })).toEqual([{ index: 0, uuid: 'mac-0', name: 'Some', memoryTotalBytes: null, memoryUsedBytes: null, ...unknown }]);
});

it('asks once an hour, as every answer costs the machine a second of work, and has none where asking fails', async () => {
  const clock = createManualClock();
  const faults: unknown[] = [];
  let asked = 0;
  const graphics = (): Promise<unknown> => {
    asked += 1;
    return asked === 1 ? Promise.resolve(appleSilicon) : Promise.reject(new Error('no answer'));
  };
  const gpu = new AppleGpu({ clock, graphics, onFault: (error) => faults.push(error) });
  expect(await Promise.all([gpu.gpus(), gpu.gpus(), gpu.gpus()])).toHaveLength(3);
  expect(asked).toBe(1);
  clock.advance(60 * 60_000);
  expect([await gpu.gpus(), asked, faults]).toEqual([[], 2, [new Error('no answer')]]);
});

it('loads nothing and finds nothing on other systems', async () => {
  if (process.platform === 'darwin') return;
  expect(await new AppleGpu({ clock: createManualClock(), onFault: (error) => { throw error; } }).gpus()).toEqual([]);
});
