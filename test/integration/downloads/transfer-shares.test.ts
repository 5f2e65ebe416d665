import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { transferFile, type FileTransferJob } from '../../../src/domains/downloads/transfer/file-transfer.ts';
import { HostSlots } from '../../../src/domains/downloads/transfer/host-slots.ts';
import { createGate } from '../../../src/shared/async.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { addNoise, createEngine, jobFor, MiB, sha256OfFile, type Engine } from '../../support/downloads/engine.ts';
import { eventually } from '../../support/eventually.ts';
import { createHub, type Hub } from '../../support/hub/hub.ts';
import { createManualClock } from '../../support/manual-clock.ts';

let hub: Hub;
let folder: TemporaryFolder;
let engine: Engine;
beforeEach(async () => {
  [hub, folder, engine] = await Promise.all([createHub(), createTemporaryFolder('shares'), createEngine()]);
});
afterEach(async () => {
  await Promise.all([engine.close(), hub.close()]);
  await folder.remove();
});

class NotedSlots extends HostSlots {
  readonly owners: string[] = [];

  override async acquire(host: string, owner: string, signal: AbortSignal): Promise<() => void> {
    const release = await super.acquire(host, owner, signal);
    this.owners.push(owner);
    return release;
  }
}

it('gives files that begin at the same moment connections of one host alike, before one of them gets all', async () => {
  const clock = createManualClock();
  const slots = new NotedSlots(clock, 4);
  const gate = createGate();
  const { bytes } = engine.deps;
  const held: typeof bytes = {
    open: async (request, signal) => {
      await gate.opened;
      return await bytes.open(request, signal);
    },
    close: async () => undefined,
  };
  const jobs: FileTransferJob[] = ['one', 'two'].map((seed) => jobFor({ folder: folder.path, hub, file: addNoise(hub, 6 * MiB, seed) }));
  const done = Promise.all(jobs.map(async (job) => await transferFile(job, { ...engine.deps, bytes: held, clock, slots }, AbortSignal.timeout(25_000))));

  await eventually('all connections to be taken', () => slots.owners.length === 4);
  expect([...slots.owners].sort()).toEqual(['test/one', 'test/one', 'test/two', 'test/two']);

  gate.open();
  clock.advance(60_000);
  await done;
  for (const { partPath, identity } of jobs) expect(sha256OfFile(partPath)).toBe(identity.sha256);
});
