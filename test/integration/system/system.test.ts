import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { createSystem, type SystemRoom } from '../../../src/domains/system/create-system.ts';
import { InProcessEventBus } from '../../../src/infrastructure/events/in-process-event-bus.ts';
import { eventually } from '../../support/eventually.ts';
import { createManualClock, type ManualClock } from '../../support/manual-clock.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

let clock: ManualClock;
let room: SystemRoom;
let events: InProcessEventBus;
const logger = createRecordingLogger();
const use = { deploymentId: '0190a000-0000-7000-8000-000000000000', name: 'one', cpuPercent: 1, memoryBytes: 2, gpuMemoryBytes: null };
const never = new AbortController().signal;

beforeEach(() => {
  clock = createManualClock();
  events = new InProcessEventBus({ clock });
  room = createSystem({
    events,
    clock,
    logger,
    disks: [{ path: join(tmpdir(), 'not', 'made', 'yet'), purpose: 'data' }],
    reservedBytes: () => Promise.resolve(7),
    deployments: () => Promise.resolve([use]),
    nvidiaSmi: 'no-such-program-here',
  });
});
afterEach(async () => {
  await room.stop();
  expect(clock.sleeps()).toEqual([]);
});

it('measures this machine and this process', async () => {
  await room.start();
  const sample = await room.system.resources(never);
  expect(sample.memory.totalBytes).toBeGreaterThan(sample.memory.availableBytes);
  expect(sample.memory.usedBytes).toBe(sample.memory.totalBytes - sample.memory.availableBytes);
  expect(sample.cpu.cores).toBeGreaterThan(0);
  expect(sample.disks).toEqual([expect.objectContaining({ purpose: 'data', reservedBytes: 7, totalBytes: expect.any(Number) })]);
  expect(sample.process).toMatchObject({ pid: process.pid, openFiles: expect.any(Number) });
  expect(sample.process.memoryBytes).toBeGreaterThan(20_000_000);
  expect(sample.deployments).toEqual([use]);
  expect(sample.gpus).toEqual([]);
  expect(JSON.parse(JSON.stringify(sample))).toEqual(sample);
  expect(await room.machineMemory()).toEqual({ availableBytes: expect.any(Number), gpuFreeBytes: null });
});

it('publishes a sample every two seconds and remembers them', async () => {
  const seen: string[] = [];
  const heard = events.subscribe('system.sampled', { delivery: 'all' }, never);
  await room.start();
  for (let times = 0; times < 2; times += 1) await clock.passSleepOf(2_000);
  for (let times = 0; times < 3; times += 1) {
    const { value } = (await heard.next()) as IteratorYieldResult<{ type: 'event'; payload: { sample: { collectedAt: string } } }>;
    seen.push(value.payload.sample.collectedAt);
  }
  expect(seen).toEqual(['2026-01-01T00:00:00.000Z', '2026-01-01T00:00:02.000Z', '2026-01-01T00:00:04.000Z']);
  expect(room.system.history(new Date(0), 1).map((sample) => sample.collectedAt)).toEqual(seen);
  await heard.return?.();
});

it('gives a watcher the present sample, then one each interval, until it stops', async () => {
  await room.start();
  const ended = new AbortController();
  const watching = room.system.watch(5, ended.signal)[Symbol.asyncIterator]();
  expect((await watching.next()).done).toBe(false);
  const second = watching.next();
  await clock.passSleepOf(5_000);
  expect((await second).done).toBe(false);
  const third = watching.next();
  ended.abort();
  expect((await third).done).toBe(true);
});

it('measures each second while a watcher wants that, each sample once, and each two seconds for all others', async () => {
  await room.start();
  const ended = new AbortController();
  const quick = room.system.watch(1, ended.signal)[Symbol.asyncIterator]();
  const seen = [((await quick.next()) as IteratorYieldResult<{ collectedAt: string }>).value.collectedAt];
  await eventually('the next sample is due in a second', () => clock.sleeps().includes(1_000));
  expect(clock.sleeps()).not.toContain(2_000);
  for (let times = 0; times < 3; times += 1) {
    const next = quick.next();
    await eventually('both sleep', () => clock.sleeps().filter((ms) => ms === 1_000).length === 2);
    clock.advance(1_000);
    seen.push(((await next) as IteratorYieldResult<{ collectedAt: string }>).value.collectedAt);
  }
  expect(seen.map((time) => time.slice(17, 19))).toEqual(['00', '01', '02', '03']);
  const last = quick.next();
  ended.abort();
  expect((await last).done).toBe(true);
  await eventually('nobody is in a hurry', () => clock.sleeps().length === 1 && clock.sleeps()[0] === 2_000);
});

it('refuses an interval out of range', async () => {
  const iterator = room.system.watch(0, never)[Symbol.asyncIterator]();
  await expect(iterator.next()).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'interval_seconds' }] } });
});

it('goes on with the other figures when one fails, and tells it', async () => {
  await room.stop();
  let isBroken = true;
  room = createSystem({ events, clock, logger, disks: [], deployments: () => (isBroken ? Promise.reject(new Error('broken')) : Promise.resolve([use])), nvidiaSmi: 'no-such-program-here' });
  await room.start();
  expect(logger.records).toContainEqual(expect.objectContaining({ level: 'warn' }));
  isBroken = false;
  await clock.passSleepOf(2_000);
  expect((await room.system.resources(never)).deployments).toEqual([use]);
});
