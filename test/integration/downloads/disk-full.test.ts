import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { MiB, sha256OfFile } from '../../support/downloads/engine.ts';
import { ggufContent, openRoom, type TestRoom } from '../../support/downloads/room.ts';
import { blob } from '../../support/downloads/world.ts';
import { eventually } from '../../support/eventually.ts';
import { sha256Of } from '../../support/hub/content.ts';
import { createHub, type Hub } from '../../support/hub/hub.ts';

/** A disk of 64 MiB, or null where this user may not mount one. */
function mountSmallDisk(): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'small-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', folder], { stdio: 'ignore' });
    return folder;
  } catch {
    rmSync(folder, { recursive: true });
    return null;
  }
}

const disk = mountSmallDisk();
const whereMountable = disk === null ? describe.skip : describe;

whereMountable('a small disk (skipped where a tmpfs may not be mounted)', () => {
  const contents = ['a', 'b', 'c'].map((name) => ggufContent(name, 40 * MiB));
  let database: TestDatabase;
  let hub: Hub;
  let room: TestRoom;

  beforeAll(async () => {
    [database, hub] = await Promise.all([createTestDatabase(), createHub()]);
    for (const [index, content] of contents.entries()) hub.addRepo({ id: `acme/m${index}-GGUF`, files: [{ path: `m${index}.Q4_K_M.gguf`, content }] });
    hub.addRepo({ id: 'acme/small-GGUF', files: [{ path: 'small.Q4_K_M.gguf', content: ggufContent('small', 9 * MiB) }] });
    const folder = disk!;
    room = await openRoom({ orm: database.orm, databaseUrl: database.url, folder, endpoint: hub.endpoint, config: { dataDir: tmpdir(), modelsDir: join(folder, 'models') } });
  });

  afterEach(() => hub.faults.clear());

  afterAll(async () => {
    await room.close();
    await hub.close();
    await database.drop();
    execFileSync('umount', [disk!]);
    rmSync(disk!, { recursive: true });
  });

  it('refuses what does not fit beside what is queued before its first byte, and keeps the bytes of one that another program leaves no room, until there is some', async () => {
    hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond: 2 * MiB }, server: 'cdn' });
    const { task } = await room.startDownload({ modelId: 'acme/m0-GGUF' });
    for (const other of ['acme/m1-GGUF', 'acme/m2-GGUF']) {
      await expect(room.startDownload({ modelId: other })).rejects.toMatchObject({ code: 'INSUFFICIENT_STORAGE', details: { required_bytes: 40 * MiB } });
    }
    expect((await room.downloads.list({}, { limit: 10 })).items.map(({ id }) => id)).toEqual([task.id]);
    await room.reaches(task.id, 'running');
    await eventually('some of it has come', async () => (await room.downloads.get(task.id)).downloadedBytes > 6 * MiB, 20_000);
    const foreign = join(disk!, 'foreign');
    // As much as there is: the kernel says when.
    await writeFile(foreign, Buffer.alloc(64 * MiB)).catch(() => undefined);
    const waiting = await room.reaches(task.id, 'retrying');
    expect(waiting).toMatchObject({ error: { code: 'INSUFFICIENT_STORAGE' }, attempt: 1 });
    expect(waiting.downloadedBytes).toBeGreaterThan(4 * MiB);
    // The service itself goes on meanwhile.
    expect((await room.downloads.list({}, { limit: 10 })).total).toBe(1);
    hub.faults.clear();
    await rm(foreign);
    const sentBefore = hub.requests.bytesSent(blob);
    await eventually('it went on by itself', async () => (await room.downloads.get(task.id)).status === 'completed', 60_000);
    const sentAfter = hub.requests.bytesSent(blob) - sentBefore;
    expect(sentAfter).toBeLessThan(40 * MiB - 3 * MiB);
    const [installed] = await room.installed.findByModel(task.modelId);
    expect(sha256OfFile(join(installed!.folder, 'm0.Q4_K_M.gguf'))).toBe(sha256Of(contents[0]!));
  }, 120_000);

  it('says so at once when it is read-only', async () => {
    execFileSync('mount', ['-o', 'remount,ro', disk!]);
    try {
      const { task } = await room.startDownload({ modelId: 'acme/small-GGUF' });
      const failed = await room.reaches(task.id, 'failed');
      expect(failed).toMatchObject({ attempt: 1, error: { code: 'INTERNAL', message: 'The models folder cannot be written to (EROFS).' } });
    } finally {
      execFileSync('mount', ['-o', 'remount,rw', disk!]);
    }
  });
});
