import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { DownloadEvent } from '../../../src/domains/downloads/types.ts';
import { MiB, sha256OfFile } from '../../support/downloads/engine.ts';
import { never } from '../../support/downloads/room.ts';
import { blob, q4, q4Bytes, q4Request, useWorld } from '../../support/downloads/world.ts';
import { eventually } from '../../support/eventually.ts';
import { sha256Of } from '../../support/hub/content.ts';

const world = useWorld();

describe('a download', () => {
  it('ends completed, with every file verified, in the layout that Hugging Face tools share', async () => {
    const { task, created } = await world.room.startDownload(q4Request);
    expect(created).toBe(true);
    expect(task).toMatchObject({ modelId: 'huggingface:acme/tiny-GGUF', revision: world.repo.sha, variant: 'Q4_K_M', totalBytes: q4Bytes });
    const done = await world.room.reaches(task.id, 'completed');
    expect(done).toMatchObject({ progress: 1, downloadedBytes: done.totalBytes, speedBytesPerSecond: 0, error: null, attempt: 1 });
    expect(done.files.map(({ path, status }) => `${path} ${status}`).sort()).toEqual(['README.md completed', 'config.json completed', 'tiny.Q4_K_M.gguf completed']);
    const home = join(world.room.config.hfCacheDir, 'models--acme--tiny-GGUF');
    const name = join(home, 'snapshots', world.repo.sha, 'tiny.Q4_K_M.gguf');
    expect(readlinkSync(name)).toBe(`../../blobs/${sha256Of(q4)}`);
    expect(sha256OfFile(name)).toBe(sha256Of(q4));
    expect(readFileSync(join(home, 'refs/main'), 'utf8')).toBe(world.repo.sha);
    expect(readdirSync(join(home, 'blobs')).filter((entry) => entry.includes('part'))).toEqual([]);
    const [installed] = await world.room.installed.findByModel('huggingface:acme/tiny-GGUF');
    expect(installed).toMatchObject({ revision: world.repo.sha, variant: 'Q4_K_M', format: 'gguf', quantization: 'Q4_K_M', verification: 'verified', folder: join(home, 'snapshots', world.repo.sha) });
    expect(installed?.files.every(({ sha256 }) => sha256?.length === 64)).toBe(true);
  });

  it('is completed at once when all its files are installed', async () => {
    const first = await world.room.startDownload(q4Request);
    await world.room.reaches(first.task.id, 'completed');
    world.hub.requests.clear();
    const again = await world.room.startDownload(q4Request);
    expect(again).toMatchObject({ created: true, task: { status: 'completed', progress: 1 } });
    expect(again.task.id).not.toBe(first.task.id);
    expect(world.hub.requests.matching(blob)).toHaveLength(0);
  });
});

describe('pausing', () => {
  it('stops at once, keeps every byte, and goes on from there', async () => {
    world.hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond: MiB }, server: 'cdn' });
    const { task } = await world.room.startDownload(q4Request);
    await eventually('bytes come', async () => ((await world.room.downloads.get(task.id)).downloadedBytes > 2 * MiB ? true : null));
    const paused = await world.room.downloads.pause(task.id, never);
    expect(paused).toMatchObject({ status: 'paused', speedBytesPerSecond: 0 });
    expect(paused.downloadedBytes).toBeGreaterThan(2 * MiB);
    await world.hub.requests.waitFor((log) => log.entries.every(({ state }) => state !== 'open'));
    world.hub.faults.clear();
    world.hub.requests.clear();
    await world.room.downloads.resume(task.id, never);
    await world.room.reaches(task.id, 'completed');
    // What was on its way when it was paused is asked for again, and a part where a slow machine makes that wait.
    const kept = paused.files.find(({ path }) => path.endsWith('.gguf'))?.downloadedBytes ?? 0;
    expect(world.requestedBytes()).toBeLessThanOrEqual(q4.size - kept + MiB);
  });
});

describe('cancelling', () => {
  it('removes the partial files and answers again when it is cancelled twice', async () => {
    world.slowDown();
    const { task } = await world.room.startDownload(q4Request);
    await world.sent(2 * MiB);
    expect(await world.room.downloads.cancel(task.id, never)).toMatchObject({ status: 'cancelled' });
    expect(world.partialFiles()).toEqual([]);
    expect(await world.room.downloads.cancel(task.id, never)).toMatchObject({ status: 'cancelled' });
    expect(await world.room.installed.findByModel(task.modelId)).toEqual([]);
  });

  it('leaves alone what another task is still fetching', async () => {
    world.slowDown();
    const first = await world.room.startDownload(q4Request);
    const second = await world.room.startDownload({ include: ['*Q4_K_M.gguf', '*Q8_0.gguf'] });
    await world.sent(2 * MiB);
    await world.room.downloads.cancel(first.task.id, never);
    expect(world.partialFiles()).not.toEqual([]);
    world.hub.faults.clear();
    await world.room.reaches(second.task.id, 'completed');
  });

  it('can be taken back by a retry, which starts again from nothing', async () => {
    world.slowDown();
    const { task } = await world.room.startDownload(q4Request);
    await world.sent(MiB);
    await world.room.downloads.cancel(task.id, never);
    world.hub.faults.clear();
    expect(await world.room.downloads.retry(task.id, never)).toMatchObject({ id: task.id, error: null });
    await world.room.reaches(task.id, 'completed');
  });
});

describe('the same request', () => {
  it('while one is unfinished answers that task, also when many ask at the same moment', async () => {
    world.slowDown();
    const answers = await Promise.all(Array.from({ length: 8 }, () => world.room.startDownload(q4Request)));
    expect(new Set(answers.map(({ task }) => task.id)).size).toBe(1);
    expect(answers.filter(({ created }) => created)).toHaveLength(1);
  });

  it('is known by its files, however it is worded', async () => {
    world.slowDown();
    const first = await world.room.startDownload(q4Request);
    const worded = await world.room.startDownload({ variant: 'q4_k_m', revision: world.repo.sha });
    expect(worded).toMatchObject({ created: false, task: { id: first.task.id } });
  });

  it('with an idempotency key answers the first result for ever, and refuses another input', async () => {
    const first = await world.room.startDownload({ ...q4Request, idempotencyKey: 'k1' });
    await world.room.reaches(first.task.id, 'completed');
    expect(await world.room.startDownload({ ...q4Request, idempotencyKey: 'k1' })).toMatchObject({ created: false, task: { id: first.task.id } });
    await expect(world.room.startDownload({ variant: 'Q8_0', idempotencyKey: 'k1' })).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
  });
});

describe('two tasks that share a file', () => {
  it('fetch it once', async () => {
    const [first, second] = await Promise.all([world.room.startDownload({ include: ['*Q4_K_M.gguf'] }), world.room.startDownload({ include: ['*Q4_K_M.gguf', 'README.md'] })]);
    await Promise.all([world.room.reaches(first.task.id, 'completed'), world.room.reaches(second.task.id, 'completed')]);
    const path = join(world.home, 'snapshots', world.repo.sha, 'tiny.Q4_K_M.gguf');
    expect(sha256OfFile(path)).toBe(sha256Of(q4));
    const full = world.hub.requests.matching(new RegExp(sha256Of(q4))).filter(({ bytesSent }) => bytesSent === MiB);
    expect(full).toHaveLength(6);
  });
});

describe('a file that is there already', () => {
  async function place(content: Buffer): Promise<void> {
    const path = join(world.home, 'blobs', sha256Of(q4));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content);
    const name = join(world.home, 'snapshots', world.repo.sha, 'tiny.Q4_K_M.gguf');
    await mkdir(dirname(name), { recursive: true });
    await symlink(`../../blobs/${sha256Of(q4)}`, name);
  }

  it('is adopted when another tool has put it into the cache', async () => {
    await place(q4.slice(0, q4.size));
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'completed');
    // What the catalogue reads of its header is less than a part.
    expect(world.hub.requests.matching(new RegExp(sha256Of(q4))).some(({ bytesSent }) => bytesSent === MiB)).toBe(false);
  });

  it('is fetched anew when it is damaged', async () => {
    const bytes = Buffer.from(q4.slice(0, q4.size));
    bytes[3 * MiB] = (bytes[3 * MiB] ?? 0) ^ 1;
    await place(bytes);
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'completed');
    expect(sha256OfFile(join(world.home, 'blobs', sha256Of(q4)))).toBe(sha256Of(q4));
  });
});

describe('watching', () => {
  it('begins with the present state, tells progress and every change of state, and ends with the task', async () => {
    world.slowDown(4 * MiB);
    const { task } = await world.room.startDownload(q4Request);
    const events: DownloadEvent[] = [];
    const watching = (async () => {
      for await (const event of world.room.downloads.watch(task.id, AbortSignal.timeout(20_000))) events.push(event);
    })();
    await world.room.reaches(task.id, 'completed');
    await world.room.downloads.remove(task.id, { deleteFiles: false }, never);
    await watching;
    expect(events[0]?.type).toBe('snapshot');
    const statuses = events.flatMap((event) => (event.type === 'status' ? [event.task.status] : []));
    expect(statuses.at(-1)).toBe('completed');
    const progress = events.flatMap((event) => (event.type === 'progress' ? [event.task.downloadedBytes] : []));
    expect(progress.length).toBeGreaterThan(0);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
  });

  it('of everything begins with what is unfinished', async () => {
    world.slowDown(64 * 1024);
    const { task } = await world.room.startDownload(q4Request);
    const stop = new AbortController();
    for await (const event of world.room.downloads.watch(null, stop.signal)) {
      expect(event).toMatchObject({ type: 'snapshot', tasks: [{ id: task.id }] });
      break;
    }
    stop.abort();
  });
});
