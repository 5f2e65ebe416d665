import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { DeploymentConfig, DeploymentView } from '../../../src/domains/deployments/types.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, never, operator, type BenchOptions, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { isAlive } from '../../support/processes.ts';
import { eventually } from '../../support/eventually.ts';
import { installedTiny } from '../../support/installed-tiny.ts';
import { createSmallEngineRuntime, smallEngineBytes, type SmallEngineRuntime } from '../../support/small-engine-runtime.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

let database: TestDatabase;
let folder: string;
let runtime: SmallEngineRuntime;
let bench: DeploymentsBench;

beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'llmm-on-demand-'));
  await writeFile(join(folder, 'tiny.gguf'), buildTinyGguf());
});
afterAll(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});
afterEach(async () => {
  await bench.close();
  expect(runtime.pids.filter(isAlive)).toEqual([]);
});

async function open(options: Partial<BenchOptions> = {}): Promise<void> {
  bench = await createDeploymentsBench({ em: database.em(), runtimes: [runtime], ...options });
}

async function run(config: DeploymentConfig, modelId?: string): Promise<DeploymentView> {
  const { id } = await bench.deployments.start({ runtime: 'small', config, override: [], ...(modelId ? { modelId } : {}) }, operator, never);
  return await bench.reaches(id, 'running');
}

/** Answers one request. */
async function use(id: string): Promise<string> {
  const { baseUrl, release } = await bench.deployments.ensureReady(id, never);
  expect((await fetch(`${baseUrl}/health`)).status).toBe(200);
  release('succeeded');
  return baseUrl;
}

describe('a deployment that is kept loaded for a while', () => {
  beforeEach(async () => {
    runtime = createSmallEngineRuntime();
    await open();
  });

  it('is unloaded when nobody has used it for so long, and loaded again by the next request', async () => {
    const { id } = await run({ keepAliveSeconds: 40 });
    await bench.clock.passSleepOf(40_000);
    const resting = await bench.reaches(id, 'stopped');
    expect(resting).toMatchObject({ desiredStatus: 'running', endpoint: null, error: null });
    expect(runtime.pids.filter(isAlive)).toEqual([]);
    await use(id);
    expect(await bench.deployments.get(id)).toMatchObject({ status: 'running', runs: 2, restarts: 0 });
    const reasons = (await bench.deployments.events(id, { limit: 100 })).items.map(({ reason }) => reason);
    expect(reasons).toEqual(expect.arrayContaining(['nobody used it for 40 s', 'a request needs it']));
  });

  it('is loaded once for all requests that come together, which wait for it', async () => {
    const { id } = await run({ keepAliveSeconds: 40 });
    await bench.clock.passSleepOf(40_000);
    const urls = await Promise.all(Array.from({ length: 30 }, () => use(id)));
    expect(new Set(urls).size).toBe(1);
    expect(runtime.pids).toHaveLength(2);
  });

  it('stays loaded as long as a request goes on', async () => {
    const { id } = await run({ keepAliveSeconds: 40 });
    const { release } = await bench.deployments.ensureReady(id, never);
    bench.clock.advance(400_000);
    await eventually('it waits for the end of the request', () => !bench.clock.sleeps().some((ms) => ms <= 40_000 && ms !== 10_000 && ms !== 5_000));
    expect((await bench.deployments.get(id)).status).toBe('running');
    release('succeeded');
    await bench.clock.passSleepOf(40_000);
    await bench.reaches(id, 'stopped');
  });

  it('is unloaded right after a request with 0 seconds, and not before the first one', async () => {
    const { id } = await run({ keepAliveSeconds: 0 });
    bench.clock.advance(60_000);
    expect((await bench.deployments.get(id)).status).toBe('running');
    await use(id);
    await bench.reaches(id, 'stopped');
    await use(id);
    await eventually('it was unloaded again', async () => (await bench.deployments.get(id)).status === 'stopped');
    expect(runtime.pids).toHaveLength(2);
  });

  it('is not woken by a request after an operator has stopped it, nor is one that is pinned', async () => {
    const { id } = await run({ keepAliveSeconds: 40 });
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
    await expect(bench.deployments.ensureReady(id, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    const pinned = await run({ keepAliveSeconds: -1 });
    await use(pinned.id);
    bench.clock.advance(365 * 86_400_000);
    expect((await bench.deployments.get(pinned.id)).status).toBe('running');
    await bench.deployments.stop(pinned.id, never);
    await bench.reaches(pinned.id, 'stopped');
    await expect(bench.deployments.ensureReady(pinned.id, never)).rejects.toMatchObject({ code: 'INVALID_STATE' });
  });

  it('lets a bounded number of requests wait for it and refuses further ones', async () => {
    const { id } = await bench.deployments.start({ runtime: 'small', config: { keepAliveSeconds: 40, environment: { MODE: 'never-ready' } }, override: [] }, operator, never);
    await bench.reaches(id, 'starting');
    const leaving = new AbortController();
    const waiting = Array.from({ length: 65 }, () => bench.deployments.ensureReady(id, leaving.signal));
    await expect(Promise.race(waiting)).rejects.toMatchObject({ code: 'OVERLOADED', retryAfterSeconds: 5 });
    const gone = new Error('gone');
    leaving.abort(gone);
    const results = await Promise.allSettled(waiting);
    expect(results.filter((result) => result.status === 'rejected' && result.reason === gone)).toHaveLength(64);
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
  });

  it('is not loaded by a new start of the service, but by the first request after it', async () => {
    const { id } = await run({ keepAliveSeconds: 40 });
    await bench.clock.passSleepOf(40_000);
    await bench.reaches(id, 'stopped');
    await bench.close();
    await open();
    await bench.start(never);
    expect(runtime.pids).toHaveLength(1);
    await use(id);
    expect(runtime.pids).toHaveLength(2);
  });
});

describe('when memory is short', () => {
  const tiny = 'huggingface:test/tiny';

  beforeEach(async () => {
    runtime = createSmallEngineRuntime({ needsModel: true });
    // Room for two engines beside what is left to the system.
    const totalBytes = 512 * 1024 ** 2 + 2.2 * smallEngineBytes;
    await open({ installed: [{ ...installedTiny(folder), modelId: tiny }], availableBytes: (takenBytes) => totalBytes - takenBytes });
  });

  it('ends the engine that was not used for longest, and no more than is needed', async () => {
    const first = await run({ keepAliveSeconds: 600 }, tiny);
    const second = await run({ keepAliveSeconds: 600 }, tiny);
    bench.clock.advance(1_000);
    await use(first.id);
    const third = await run({ keepAliveSeconds: 600 }, tiny);
    expect(await bench.deployments.get(second.id)).toMatchObject({ status: 'stopped', desiredStatus: 'running' });
    expect((await bench.deployments.get(first.id)).status).toBe('running');
    // And back by a request: now the first one was not used for longest.
    bench.clock.advance(1_000);
    await use(third.id);
    await use(second.id);
    expect((await bench.deployments.get(first.id)).status).toBe('stopped');
    expect((await bench.deployments.get(third.id)).status).toBe('running');
  });

  it('never ends one that is pinned or in use: the start is refused, a request waits for the use to end and is told when that takes too long', async () => {
    const pinned = await run({}, tiny);
    const busy = await run({ keepAliveSeconds: 600 }, tiny);
    const { release } = await bench.deployments.ensureReady(busy.id, never);
    await expect(run({ keepAliveSeconds: 600 }, tiny)).rejects.toMatchObject({ code: 'MODEL_DOES_NOT_FIT', details: { needed_bytes: expect.any(Number), available_bytes: expect.any(Number) } });
    release('succeeded');
    const third = await run({ keepAliveSeconds: 600 }, tiny);
    const using = await bench.deployments.ensureReady(third.id, never);
    const tooLong = bench.deployments.ensureReady(busy.id, never);
    const told = expect(tooLong).rejects.toMatchObject({ code: 'MODEL_DOES_NOT_FIT' });
    await bench.clock.passSleepOf(60_000);
    await told;
    expect(await bench.reaches(busy.id, 'stopped')).toMatchObject({ desiredStatus: 'running', error: { code: 'MODEL_DOES_NOT_FIT' } });
    const waiting = use(busy.id);
    await bench.reaches(busy.id, 'starting');
    expect((await bench.deployments.get(third.id)).status).toBe('running');
    using.release('succeeded');
    await waiting;
    expect(await bench.deployments.get(busy.id)).toMatchObject({ status: 'running', error: null });
    expect((await bench.deployments.get(third.id)).status).toBe('stopped');
    expect((await bench.deployments.get(pinned.id)).runs).toBe(1);
  });
});
