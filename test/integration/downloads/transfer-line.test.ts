import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { FileTransferJob, TransferSettings } from '../../../src/domains/downloads/transfer/file-transfer.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { addNoise, createEngine, type Engine, fetchFile, jobFor, MiB, sha256OfFile, type TestFile } from '../../support/downloads/engine.ts';
import { createFaultProxy, type FaultProxy } from '../../support/fault-proxy.ts';
import { createHub, type Hub } from '../../support/hub/hub.ts';

let hub: Hub;
let folder: TemporaryFolder;
let engine: Engine;
let line: FaultProxy;

beforeEach(async () => {
  [hub, folder] = await Promise.all([createHub(), createTemporaryFolder('line')]);
  line = await createFaultProxy({ port: Number(new URL(hub.cdnUrl).port) });
});

afterEach(async () => {
  await Promise.all([engine.close(), line.close(), hub.close()]);
  await folder.remove();
});

const blob = /xet-bridge-us/;

/** A file whose bytes come through the line. */
async function prepare(sizeBytes: number, settings: Partial<TransferSettings> = {}, own: Partial<FileTransferJob> = {}): Promise<{ file: TestFile; job: FileTransferJob }> {
  engine = await createEngine({ stallMs: 300, ...settings });
  const file = addNoise(hub, sizeBytes);
  const job = jobFor({ folder: folder.path, hub, file, ...own });
  const locate: FileTransferJob['locate'] = async (signal) => {
    const location = await job.locate(signal);
    const url = new URL(location.url);
    url.port = String(line.port);
    return { ...location, url: url.href };
  };
  return { file, job: { ...job, locate } };
}

const requests = (): number => hub.requests.matching(blob, 'GET').length;

async function completes({ file, job }: { file: TestFile; job: FileTransferJob }): Promise<void> {
  expect(await fetchFile(job, engine)).toEqual({ sha256: file.identity.sha256 });
  expect(sha256OfFile(job.partPath)).toBe(file.identity.sha256);
}

describe('a file over a bad line', () => {
  it('arrives when every connection is cut after some of its bytes, and no byte is asked for from the start again', async () => {
    line.add({ kind: 'limit_data', bytes: 400_000 });
    await completes(await prepare(4 * MiB, { connections: 2 }));
    const starts = hub.requests.matching(blob, 'GET').map(({ range }) => range);
    expect(new Set(starts).size).toBe(starts.length);
  });

  it('arrives in pieces of one byte', async () => {
    line.add({ kind: 'slicer', bytes: 1 });
    await completes(await prepare(5_000));
  });

  it('arrives over a line with delay', async () => {
    line.add({ kind: 'latency', milliseconds: 20, jitterMilliseconds: 30 });
    await completes(await prepare(3 * MiB));
  });

  it('arrives right although the line flips a bit that TCP did not notice', async () => {
    let passes = 0;
    line.add({ kind: 'corrupt', atByte: 200_000 });
    const onProgress = (bytes: number): void => {
      if (bytes === 0 && (passes += 1) > 1) line.clear();
    };
    await completes(await prepare(3 * MiB, {}, { onProgress }));
    expect(passes).toBeGreaterThan(1);
  });

  it('is asked for anew when the only connection brings hardly a byte', async () => {
    const lift = line.add({ kind: 'bandwidth', bytesPerSecond: 200 });
    const given = await prepare(MiB, { slowCheckMs: 50, stallMs: 10_000 });
    const done = completes(given);
    await hub.requests.waitFor(() => requests() > 1);
    lift();
    await done;
  });
});

describe('a line that is gone for a while', () => {
  it.each([
    ['every connection is reset', { kind: 'reset_peer' }],
    ['nothing comes through', { kind: 'timeout' }],
  ] as const)('ends the attempt with NETWORK_FAILED when %s, and the next one goes on from the bytes that came', async (_case, toxic) => {
    const came = Promise.withResolvers<number>();
    const told: number[] = [];
    const onProgress = (bytes: number): void => {
      told.push(bytes);
      if (bytes >= 2 * MiB) came.resolve(bytes);
    };
    const given = await prepare(6 * MiB, { connections: 2 }, { onProgress });
    const outcome = fetchFile(given.job, engine);
    outcome.catch(() => undefined);
    const bytes = await came.promise;
    const lift = line.add(toxic);
    await expect(outcome).rejects.toMatchObject({ code: 'NETWORK_FAILED' });
    lift();
    hub.requests.clear();
    const toldBefore = told.length;
    await completes(given);
    const resumedAt = told[toldBefore] ?? 0;
    expect(resumedAt).toBeGreaterThanOrEqual(bytes);
    // What is sent twice now was held by the kernel when a connection was given up, as on a busy machine any may be.
    expect(hub.requests.bytesSent(blob) - hub.requests.bytesSentTwice(blob)).toBeLessThanOrEqual(6 * MiB - resumedAt);
  });

  it('ends the attempt with NETWORK_FAILED when nobody listens there, and goes on when somebody does', async () => {
    const given = await prepare(2 * MiB);
    await line.down();
    await expect(fetchFile(given.job, engine)).rejects.toMatchObject({ code: 'NETWORK_FAILED' });
    await line.up();
    await completes(given);
  });
});
