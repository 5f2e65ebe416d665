import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { findSidecar, readSidecar, type Sidecar, sidecarPathOf, syncedSidecarPathOf, trustedProgress, writeSidecar } from '../../../src/domains/downloads/transfer/sidecar.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';

const identity = { modelId: 'huggingface:a/b', revision: 'c'.repeat(40), path: 'm.gguf', sizeBytes: 100, sha256: 'a'.repeat(64), gitSha1: null };
const sidecar: Sidecar = { identity, partBytes: 10, done: { prefix: 42, parts: [[6, 3]] }, synced: { prefix: 20, parts: [] }, bootId: 'boot', etag: { host: 'h', value: '"e"' }, verified: null };

let folder: TemporaryFolder;
let part: string;

beforeEach(async () => {
  folder = await createTemporaryFolder('sidecar');
  part = join(folder.path, 'blob.part');
});

afterEach(() => folder.remove());

describe('a sidecar', () => {
  it.each([true, false])('is read as it was written (durable: %s)', async (durable) => {
    await writeSidecar(sidecarPathOf(part), sidecar, durable);
    expect(await readSidecar(sidecarPathOf(part))).toEqual(sidecar);
  });

  it('counts everything within one run of the system, and only what was synced in another', () => {
    expect(trustedProgress(sidecar, 'boot')).toEqual(sidecar.done);
    expect(trustedProgress(sidecar, 'other')).toEqual(sidecar.synced);
    expect(trustedProgress({ ...sidecar, bootId: null }, null)).toEqual(sidecar.synced);
  });

  it('is not believed when any byte of it is missing', async () => {
    await writeSidecar(sidecarPathOf(part), sidecar, false);
    const text = await readFile(sidecarPathOf(part), 'utf8');
    for (let length = 0; length < text.length; length += 7) {
      await writeFile(sidecarPathOf(part), text.slice(0, length));
      expect(await readSidecar(sidecarPathOf(part))).toBeNull();
    }
  });

  it.each([{ sizeBytes: 101 }, { sha256: 'b'.repeat(64) }])('is not for a file of another size or checksum: %j', async (change) => {
    await writeSidecar(sidecarPathOf(part), sidecar, false);
    expect(await findSidecar(part, { ...identity, ...change }, 'boot')).toBeNull();
  });

  it('is for the same bytes of another revision, but only when their checksum says so', async () => {
    await writeSidecar(sidecarPathOf(part), sidecar, false);
    expect(await findSidecar(part, { ...identity, revision: 'd'.repeat(40) }, 'boot')).not.toBeNull();
    await writeSidecar(sidecarPathOf(part), { ...sidecar, identity: { ...identity, sha256: null } }, false);
    expect(await findSidecar(part, { ...identity, sha256: null, revision: 'd'.repeat(40) }, 'boot')).toBeNull();
  });

  it('has a copy that is on the disk, for when a power cut has spoilt it', async () => {
    await writeFile(sidecarPathOf(part), '');
    await writeSidecar(syncedSidecarPathOf(part), sidecar, true);
    expect(await findSidecar(part, identity, 'other')).toEqual(sidecar);
  });
});
