import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { MiB, sha256OfFile } from '../../support/downloads/engine.ts';
import { ggufContent, never, openRoom, type RoomOptions, type TestRoom } from '../../support/downloads/room.ts';
import { sha256Of } from '../../support/hub/content.ts';
import { createHub, type Hub, type HubRepo } from '../../support/hub/hub.ts';

let database: TestDatabase;
let hub: Hub;
let repo: HubRepo;
let folder: TemporaryFolder;
let room: TestRoom;

const q4 = ggufContent('q4', 6 * MiB);
const config = JSON.stringify({ model_type: 'llama', max_position_embeddings: 2048 });
const blob = /xet-bridge-us/;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(async () => {
  await database.drop();
});

async function open(options: Partial<RoomOptions> = {}): Promise<TestRoom> {
  return await openRoom({ orm: database.orm, databaseUrl: database.url, folder: folder.path, endpoint: hub.endpoint, ...options });
}

beforeEach(async () => {
  [hub, folder] = await Promise.all([createHub(), createTemporaryFolder('downloads')]);
  repo = hub.addRepo({
    id: 'acme/tiny-GGUF',
    files: [
      { path: 'tiny.Q4_K_M.gguf', content: q4 },
      { path: 'tiny.Q8_0.gguf', content: ggufContent('q8', 9 * MiB) },
      { path: 'README.md', content: '# Tiny' },
      { path: 'config.json', content: config },
      { path: 'pickle.bin', content: 'weights' },
    ],
  });
  room = await open();
});

afterEach(async () => {
  await room.close();
  await hub.close();
  await folder.remove();
  await database.orm.em.fork().getConnection().execute('truncate download_tasks, download_files, installed_models, state_events, idempotency_records');
});

const q4Request = { variant: 'Q4_K_M' };

describe('a download', () => {
  it('ends completed, with every file verified, in the layout that Hugging Face tools share', async () => {
    const { task, created } = await room.startDownload(q4Request);
    expect(created).toBe(true);
    expect(task).toMatchObject({ modelId: 'huggingface:acme/tiny-GGUF', revision: repo.sha, variant: 'Q4_K_M', totalBytes: 6 * MiB + 6 + config.length });
    const done = await room.reaches(task.id, 'completed');
    expect(done).toMatchObject({ progress: 1, downloadedBytes: done.totalBytes, speedBytesPerSecond: 0, error: null, attempt: 1 });
    expect(done.files.map(({ path, status }) => `${path} ${status}`).sort()).toEqual(['README.md completed', 'config.json completed', 'tiny.Q4_K_M.gguf completed']);
    const home = join(room.config.hfCacheDir, 'models--acme--tiny-GGUF');
    const name = join(home, 'snapshots', repo.sha, 'tiny.Q4_K_M.gguf');
    expect(readlinkSync(name)).toBe(`../../blobs/${sha256Of(q4)}`);
    expect(sha256OfFile(name)).toBe(sha256Of(q4));
    expect(readFileSync(join(home, 'refs/main'), 'utf8')).toBe(repo.sha);
    expect(readdirSync(join(home, 'blobs')).filter((entry) => entry.includes('part'))).toEqual([]);
    const [installed] = await room.installed.findByModel('huggingface:acme/tiny-GGUF');
    expect(installed).toMatchObject({ revision: repo.sha, variant: 'Q4_K_M', format: 'gguf', quantization: 'Q4_K_M', verification: 'verified', folder: join(home, 'snapshots', repo.sha) });
    expect(installed?.files.every(({ sha256 }) => sha256?.length === 64)).toBe(true);
  });

  it('is completed at once when all its files are installed', async () => {
    const first = await room.startDownload(q4Request);
    await room.reaches(first.task.id, 'completed');
    hub.requests.clear();
    const again = await room.startDownload(q4Request);
    expect(again).toMatchObject({ created: true, task: { status: 'completed', progress: 1 } });
    expect(again.task.id).not.toBe(first.task.id);
    expect(hub.requests.matching(blob)).toHaveLength(0);
  });
});

describe('pausing', () => {
  it('stops at once, keeps every byte, and goes on from there', async () => {
    hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond: MiB }, server: 'cdn' });
    const { task } = await room.startDownload(q4Request);
    await hub.requests.waitFor((log) => log.sentRanges(blob).reduce((sum, { start, end }) => sum + end - start, 0) > 2 * MiB);
    const paused = await room.downloads.pause(task.id, never);
    expect(paused).toMatchObject({ status: 'paused', speedBytesPerSecond: 0 });
    expect(paused.downloadedBytes).toBeGreaterThan(MiB);
    await hub.requests.waitFor((log) => log.entries.every(({ state }) => state !== 'open'));
    hub.faults.clear();
    await room.downloads.resume(task.id, never);
    await room.reaches(task.id, 'completed');
    expect(hub.requests.bytesSentTwice(blob)).toBeLessThan(2 * MiB);
  });
});
