import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { StopReason } from '../../../src/shared/abort.ts';
import { isAppError } from '../../../src/shared/errors.ts';
import { sidecarPathOf } from '../../../src/domains/downloads/transfer/sidecar.ts';
import { TokenBucket } from '../../../src/domains/downloads/transfer/token-bucket.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { addNoise, createEngine, type Engine, fetchFile, jobFor, MiB, sha256OfFile } from '../../support/downloads/engine.ts';
import { rateLimited, unavailable } from '../../support/hub/faults.ts';
import { seededRandom } from '../../support/seeded-random.ts';
import { createHub, type Hub } from '../../support/hub/hub.ts';

let hub: Hub;
let folder: TemporaryFolder;
let engine: Engine;

beforeEach(async () => {
  [hub, folder, engine] = await Promise.all([createHub(), createTemporaryFolder('transfer'), createEngine()]);
});

afterEach(async () => {
  await Promise.all([engine.close(), hub.close()]);
  await folder.remove();
});

const blob = /xet-bridge-us/;

async function fetchAndCheck(sizeBytes: number): Promise<void> {
  const file = addNoise(hub, sizeBytes);
  const job = jobFor({ folder: folder.path, hub, file });
  expect(await fetchFile(job, engine)).toEqual({ sha256: file.identity.sha256 });
  expect(sha256OfFile(job.partPath)).toBe(file.identity.sha256);
}

describe('one file', () => {
  it.each([0, 1, MiB - 1, MiB, MiB + 1, 20 * MiB + 7])('arrives whole and with the promised checksum: %d bytes', async (sizeBytes) => {
    await fetchAndCheck(sizeBytes);
  });

  it('is fetched in ranges that cover it once, on several connections, without our token', async () => {
    await fetchAndCheck(20 * MiB);
    const requests = hub.requests.matching(blob, 'GET');
    expect(requests).toHaveLength(20);
    expect(hub.requests.bytesSentTwice(blob)).toBe(0);
    expect(requests.every(({ authorization, headers }) => authorization === null && headers['accept-encoding'] === 'identity')).toBe(true);
  });

  it('is asked for in large pieces, and in ever smaller ones towards its end, which cover it once', async () => {
    const large = await createEngine({ pieceBytes: 4 * MiB, connections: 2, connectionsSmall: 2 });
    const file = addNoise(hub, 20 * MiB + 7);
    const job = jobFor({ folder: folder.path, hub, file });
    hub.requests.clear();
    expect(await fetchFile(job, large)).toEqual({ sha256: file.identity.sha256 });
    await large.close();
    const asked = hub.requests.matching(blob, 'GET').map(({ range }) => (/^bytes=(\d+)-(\d+)$/.exec(range ?? '') ?? []).slice(1).map(Number)).map(([first = 0, last = 0]) => ({ first, bytes: last - first + 1 }));
    const pieces = asked.sort((one, other) => one.first - other.first).map(({ bytes }) => bytes);
    // 21 parts for two connections: half of what is left, four at most.
    expect(pieces).toEqual([4, 4, 4, 4, 3, 1].map((parts) => parts * MiB).concat(7));
    expect(hub.requests.bytesSentTwice(blob)).toBe(0);
  });

  it('asks for its address once, however many parts it has', async () => {
    await fetchAndCheck(20 * MiB);
    expect(hub.requests.matching(/\/resolve\//, 'HEAD')).toHaveLength(1);
  });

  it('is not touched where the address is private and the source may not use such ones', async () => {
    const file = addNoise(hub, MiB);
    const job = jobFor({ folder: folder.path, hub, file });
    const { locate } = job;
    const outcome = fetchFile({ ...job, locate: async (signal) => ({ ...(await locate(signal)), allowPrivate: false }) }, engine);
    await expect(outcome).rejects.toMatchObject({ code: 'NETWORK_FAILED' });
    expect(hub.requests.matching(blob)).toHaveLength(0);
  });
});

describe('a spoilt answer', () => {
  it.each([
    ['a reset connection', { kind: 'reset', afterBytes: 300_000 }],
    ['a body that ends early', { kind: 'short', afterBytes: 300_000 }],
    ['a body that ends early as if that were all', { kind: 'short', afterBytes: 300_000, noLength: true }],
    ['a connection that is closed at once', { kind: 'close' }],
    ['another range than was asked for', { kind: 'wrong_range', shiftBytes: 4096 }],
    ['a 500', { kind: 'status', status: 500 }],
    ['an expired address', { kind: 'expire' }],
  ] as const)('is asked for again and costs no wrong byte: %s', async (_name, fault) => {
    const injected = hub.faults.inject({ fault, server: 'cdn', nth: [2, 5, 6] });
    await fetchAndCheck(10 * MiB);
    expect(injected.hits).toBe(3);
  });

  it('is asked for again when nothing comes on a connection', async () => {
    await engine.close();
    engine = await createEngine({ stallMs: 1_500 });
    const injected = hub.faults.inject({ fault: { kind: 'stall', afterBytes: 300_000 }, server: 'cdn', nth: [2, 5, 6] });
    await fetchAndCheck(10 * MiB);
    expect(injected.hits).toBe(3);
  });

  it('is asked for anew on another connection when one crawls far behind the others, also at the end of the file', async () => {
    await engine.close();
    engine = await createEngine({ slowCheckMs: 200 });
    hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond: 2000 }, server: 'cdn', nth: 10 });
    await fetchAndCheck(10 * MiB);
    const crawling = hub.requests.matching(blob, 'GET').filter(({ faults }) => faults.includes('rate'));
    expect(crawling).toMatchObject([{ state: 'aborted' }]);
  });

  it('is asked for again when the storage is overloaded five times in a row', async () => {
    const injected = hub.faults.inject({ fault: unavailable(), server: 'cdn', nth: [1, 2, 3, 4, 5] });
    await fetchAndCheck(MiB);
    expect(injected.hits).toBe(5);
  });

  it('is left alone for as long as a 500 says', async () => {
    hub.faults.inject({ fault: { kind: 'status', status: 500, headers: { 'retry-after': '1' } }, server: 'cdn', nth: 1 });
    const startedAt = performance.now();
    await fetchAndCheck(MiB);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(1000);
  });

  it('goes on from the byte where a connection broke', async () => {
    hub.faults.inject({ fault: { kind: 'reset', afterBytes: 600_000 }, server: 'cdn', nth: 1 });
    await fetchAndCheck(MiB);
    const [, again] = hub.requests.matching(blob, 'GET');
    expect(Number(/bytes=(\d+)-/.exec(again?.range ?? '')?.[1])).toBeGreaterThan(0);
  });

  it('asks for the address anew when it has expired in the middle', async () => {
    const twoConnections = await createEngine({ pieceBytes: MiB, connections: 2, connectionsSmall: 2 });
    const file = addNoise(hub, 10 * MiB);
    // Until it has expired nothing is asked for but the first two pieces.
    let isExpired = false;
    const expired = Promise.withResolvers<undefined>();
    for (const nth of [1, 2]) hub.faults.inject({ fault: { kind: 'stall', afterBytes: 300_000, until: expired.promise }, server: 'cdn', nth });
    const job = jobFor({
      folder: folder.path,
      hub,
      file,
      onProgress: (bytes) => {
        if (isExpired || bytes < 500_000) return;
        isExpired = true;
        hub.expireUrls();
        expired.resolve(undefined);
      },
    });
    await fetchFile(job, twoConnections).finally(() => twoConnections.close());
    expect(hub.requests.matching(/\/resolve\//, 'HEAD').length).toBeGreaterThan(1);
    expect(sha256OfFile(job.partPath)).toBe(file.identity.sha256);
  });

  it('fetches a storage that ignores ranges on one connection', async () => {
    hub.faults.inject({ fault: { kind: 'ignore_range' }, server: 'cdn' });
    await fetchAndCheck(5 * MiB);
  });

  it('takes a single ignored range for a mishap', async () => {
    hub.faults.inject({ fault: { kind: 'ignore_range' }, server: 'cdn', nth: 3 });
    await fetchAndCheck(10 * MiB);
    expect(hub.requests.matching(blob, 'GET').length).toBe(11);
  });

  it('leaves the host alone for a while also when it says "at once" and goes on refusing', async () => {
    const { slots } = engine.deps;
    const asked: number[] = [];
    const quiet = slots.quiet.bind(slots);
    slots.quiet = (host, waitMs) => {
      asked.push(waitMs);
      quiet(host, waitMs);
    };
    hub.faults.inject({ fault: { kind: 'status', status: 429, headers: { 'retry-after': '0' } }, server: 'cdn', nth: [1, 2, 3] });
    await fetchAndCheck(MiB);
    expect(asked.map((waitMs) => waitMs > 0)).toEqual([true, true, true]);
  });

  it('leaves the host alone for as long as a 429 or 503 says', async () => {
    hub.faults.inject({ fault: rateLimited(0), server: 'cdn', nth: 2 });
    hub.faults.inject({ fault: unavailable(1), server: 'cdn', nth: 5 });
    const startedAt = performance.now();
    await fetchAndCheck(10 * MiB);
    expect(performance.now() - startedAt).toBeGreaterThanOrEqual(1000);
  });

  it('ends the attempt when it is told to wait for long, and says how long', async () => {
    hub.faults.inject({ fault: rateLimited(200), server: 'cdn' });
    const file = addNoise(hub, MiB);
    await expect(fetchFile(jobFor({ folder: folder.path, hub, file }), engine)).rejects.toMatchObject({ code: 'RATE_LIMITED', retryAfterSeconds: 201 });
  });
});

describe('a wrong file', () => {
  it('is thrown away and fetched once more when a bit was flipped', async () => {
    hub.faults.inject({ fault: { kind: 'flip', atByte: 5_000_000 }, server: 'cdn', times: 10 });
    await fetchAndCheck(10 * MiB);
    expect(hub.requests.matching(blob, 'GET')).toHaveLength(20);
  });

  it('is refused after the second time, and nothing of it stays', async () => {
    hub.faults.inject({ fault: { kind: 'flip', atByte: 5_000_000 }, server: 'cdn' });
    const file = addNoise(hub, 10 * MiB);
    const job = jobFor({ folder: folder.path, hub, file });
    await expect(fetchFile(job, engine)).rejects.toMatchObject({ code: 'INTEGRITY_FAILED' });
    expect(existsSync(job.partPath)).toBe(false);
    expect(existsSync(sidecarPathOf(job.partPath))).toBe(false);
  });

  it('is caught at any place of its one wrong bit, twenty times of twenty', async () => {
    const seed = randomInt(2 ** 31);
    const random = seededRandom(seed);
    const file = addNoise(hub, 2 * MiB);
    const job = jobFor({ folder: folder.path, hub, file });
    const outcomes: unknown[] = [];
    for (let count = 0; count < 20; count += 1) {
      const flip = hub.faults.inject({ fault: { kind: 'flip', atByte: random.below(2 * MiB) }, server: 'cdn' });
      outcomes.push(await fetchFile(job, engine).then(() => 'fetched', (error: unknown) => (isAppError(error) ? error.code : error)));
      flip.remove();
    }
    expect({ seed, outcomes }).toEqual({ seed, outcomes: Array.from({ length: 20 }, () => 'INTEGRITY_FAILED') });
    expect([existsSync(job.partPath), existsSync(sidecarPathOf(job.partPath))]).toEqual([false, false]);
  });

  it('is begun anew when the storage says in the middle that it is another one', async () => {
    hub.faults.inject({ fault: { kind: 'etag', value: '"other"' }, server: 'cdn', nth: 9 });
    await fetchAndCheck(10 * MiB);
    expect(hub.requests.matching(blob, 'GET').length).toBeGreaterThan(10);
  });

  it('fails with SOURCE_CHANGED when the source itself speaks of other bytes', async () => {
    hub.faults.inject({ fault: { kind: 'etag', value: `"${'0'.repeat(64)}"` }, match: /\/resolve\// });
    const file = addNoise(hub, MiB);
    await expect(fetchFile(jobFor({ folder: folder.path, hub, file }), engine)).rejects.toMatchObject({ code: 'SOURCE_CHANGED' });
    expect(hub.requests.matching(blob)).toHaveLength(0);
  });
});

describe('an outage', () => {
  it('ends with NETWORK_FAILED, keeps what has come, and goes on from there', async () => {
    const file = addNoise(hub, 8 * MiB);
    const job = jobFor({ folder: folder.path, hub, file });
    const fault = hub.faults.inject({ fault: { kind: 'close' }, server: 'cdn', nth: Array.from({ length: 500 }, (_, index) => index + 5) });
    await expect(fetchFile(job, engine)).rejects.toMatchObject({ code: 'NETWORK_FAILED' });
    fault.remove();
    expect((await fetchFile(job, engine)).sha256).toBe(file.identity.sha256);
    // What was handed to a connection that was then cut may never have come.
    expect(hub.requests.bytesSentTwice(blob)).toBeLessThanOrEqual(MiB);
  });
});

describe('stopping', () => {
  async function stopAt(bytes: number, sizeBytes: number) {
    const file = addNoise(hub, sizeBytes);
    const stop = new AbortController();
    const job = jobFor({ folder: folder.path, hub, file, onProgress: (done) => done >= bytes && stop.abort(new StopReason('paused')) });
    await expect(fetchFile(job, engine, stop.signal)).rejects.toMatchObject({ why: 'paused' });
    return { file, job: { ...job, onProgress: () => {} } };
  }

  it('ends with the reason, frees the connections and never asks for a received byte again', async () => {
    await engine.close();
    await hub.close();
    // Held back to what is read: bytes that wait in the kernel when a connection is closed count as sent.
    [hub, engine] = await Promise.all([createHub({ cdnBytesPerSecond: 4 * MiB }), createEngine({ connections: 4 })]);
    const { file, job } = await stopAt(3 * MiB, 8 * MiB);
    await hub.requests.waitFor((log) => log.entries.every(({ state }) => state !== 'open'));
    const before = hub.requests.entries.length;
    await fetchFile(job, engine);
    expect(sha256OfFile(job.partPath)).toBe(file.identity.sha256);
    const ranges = hub.requests.entries.slice(before).flatMap(({ range }) => (range === null ? [] : [range]));
    expect(ranges.some((range) => Number(/=(\d+)/.exec(range)?.[1]) % MiB !== 0)).toBe(true);
    expect(hub.requests.bytesSentTwice(blob)).toBeLessThan(4 * 512 * 1024);
  });

  it('starts over when the sidecar cannot be read', async () => {
    const { file, job } = await stopAt(3 * MiB, 8 * MiB);
    await writeFile(sidecarPathOf(job.partPath), (await readFile(sidecarPathOf(job.partPath), 'utf8')).slice(0, 40));
    hub.requests.clear();
    await fetchFile(job, engine);
    expect(hub.requests.bytesSent(blob)).toBe(8 * MiB);
    expect(sha256OfFile(job.partPath)).toBe(file.identity.sha256);
  });

  it('believes only synced bytes after another start of the system', async () => {
    const { file, job } = await stopAt(3 * MiB, 8 * MiB);
    await fetchFile(job, { ...engine, deps: { ...engine.deps, bootId: Promise.resolve('another') } });
    expect(sha256OfFile(job.partPath)).toBe(file.identity.sha256);
  });

  it('fetches nothing again of a file that was verified', async () => {
    const file = addNoise(hub, 4 * MiB);
    const job = jobFor({ folder: folder.path, hub, file });
    await fetchFile(job, engine);
    hub.requests.clear();
    expect(await fetchFile(job, engine)).toEqual({ sha256: file.identity.sha256 });
    expect(hub.requests.entries).toHaveLength(0);
  });
});

describe('a limit', () => {
  it('holds the speed, and is felt at once when it is lifted', async () => {
    const file = addNoise(hub, 4 * MiB);
    const limit = new TokenBucket(systemClock, MiB);
    const startedAt = performance.now();
    let liftedAt = 0;
    const job = jobFor({
      folder: folder.path,
      hub,
      file,
      limits: [limit],
      onProgress: (bytes) => {
        if (bytes < 1.5 * MiB || liftedAt > 0) return;
        liftedAt = performance.now();
        limit.setLimit(null);
      },
    });
    await fetchFile(job, engine);
    // One and a half seconds' worth, less the burst that is let through at once.
    expect(liftedAt - startedAt).toBeGreaterThan(700);
  });
});
