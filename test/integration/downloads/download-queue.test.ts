import { existsSync, readdirSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { ModelSource } from '../../../src/domains/catalog/source.ts';
import { createHuggingFaceSource } from '../../../src/domains/catalog/sources/huggingface/huggingface.source.ts';
import { createOutgoingHttp } from '../../../src/infrastructure/http/outgoing-http.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { MiB } from '../../support/downloads/engine.ts';
import { never } from '../../support/downloads/room.ts';
import { q4Bytes, config, q4, q4Request, useWorld } from '../../support/downloads/world.ts';
import { eventually } from '../../support/eventually.ts';
import { gitBlobSha1Of, sha256Of, toContent } from '../../support/hub/content.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const world = useWorld();

describe('the queue', () => {
  it('runs as many tasks as it may, the next one by priority and then by age, and says who waits where', async () => {
    await world.reopen({ config: { parallel: 1 } });
    world.slowDown(64 * 1024);
    const running = await world.room.startDownload(q4Request);
    await world.room.reaches(running.task.id, 'running');
    const second = await world.room.startDownload({ variant: 'Q8_0' });
    const third = await world.room.startDownload({ include: ['README.md'] });
    expect(second.task).toMatchObject({ status: 'queued', queuePosition: 1 });
    expect(third.task).toMatchObject({ status: 'queued', queuePosition: 2 });
    expect(await world.room.downloads.prioritize(third.task.id, { priority: 10 }, never)).toMatchObject({ queuePosition: 1, priority: 10 });
    expect(await world.room.downloads.get(second.task.id)).toMatchObject({ queuePosition: 2 });
    world.hub.faults.clear();
    await world.room.downloads.cancel(running.task.id, never);
    const [late, early] = await Promise.all([world.room.reaches(second.task.id, 'completed'), world.room.reaches(third.task.id, 'completed')]);
    expect(early.startedAt!.getTime()).toBeLessThan(late.startedAt!.getTime());
  });

  it('runs no more tasks of one source at once than it may, in their order', async () => {
    await world.reopen({ config: { parallel: 3, parallelPerSource: 1 } });
    world.slowDown(64 * 1024);
    const first = await world.room.startDownload(q4Request);
    await world.room.reaches(first.task.id, 'running');
    const second = await world.room.startDownload({ variant: 'Q8_0' });
    const third = await world.room.startDownload({ include: ['README.md'] });
    await world.sent(64 * 1024);
    expect(await world.room.downloads.get(second.task.id)).toMatchObject({ status: 'queued', queuePosition: 1 });
    world.hub.faults.clear();
    await world.room.downloads.cancel(first.task.id, never);
    const done = await Promise.all([second, third].map(({ task }) => world.room.reaches(task.id, 'completed')));
    expect(done[1]!.startedAt!.getTime()).toBeGreaterThanOrEqual(done[0]!.finishedAt!.getTime());
  });

  it('takes no further task beside a thousand that have not ended, but answers the one that fetches the same', async () => {
    world.slowDown(64 * 1024);
    const { task } = await world.room.startDownload(q4Request);
    await world.room.downloads.pause(task.id, never);
    const others = "select (jsonb_populate_record(t, jsonb_build_object('id', gen_random_uuid(), 'request_key', n::text, 'files_key', null))).* from download_tasks t, generate_series(1, 999) n";
    await world.database.em().getConnection().execute(`insert into download_tasks ${others}`);
    await expect(world.room.startDownload({ variant: 'Q8_0' })).rejects.toMatchObject({ code: 'OVERLOADED', retryAfterSeconds: 60 });
    expect(await world.room.startDownload(q4Request)).toMatchObject({ created: false, task: { id: task.id } });
    await world.database.em().getConnection().execute(`delete from download_tasks where id <> '${task.id}'`);
  });

  it('keeps so many records of ended tasks, the newest, and nothing of what those before have left', async () => {
    world.hub.faults.inject({ fault: { kind: 'status', status: 404 }, server: 'cdn' });
    const failed = await world.room.startDownload({ variant: 'Q8_0' });
    await world.room.reaches(failed.task.id, 'failed');
    expect(world.partialFiles()).not.toEqual([]);
    world.hub.faults.clear();
    const ids: string[] = [];
    for (const include of [['README.md'], ['config.json']]) {
      const { task } = await world.room.startDownload({ include });
      await world.room.reaches(task.id, 'completed');
      ids.push(task.id);
    }
    expect(await world.room.purge(3)).toBe(0);
    expect(await world.room.purge(2)).toBe(1);
    expect((await world.room.downloads.list({}, { limit: 10 })).items.map(({ id }) => id)).toEqual(ids.reverse());
    expect(world.partialFiles()).toEqual([]);
  });

  it('goes on while it holds a task of a source that is not there any more', async () => {
    const http = createOutgoingHttp({ userAgent: 'llm-manager/test' });
    const hub = createHuggingFaceSource({ http: http.request, clock: systemClock, logger: silentLogger, endpoint: world.hub.endpoint });
    const mirror: ModelSource = {
      id: 'mirror',
      name: 'Mirror',
      endpoint: hub.endpoint,
      capabilities: hub.capabilities,
      search: (request, signal) => hub.search(request, signal),
      describe: (ref, signal) => hub.describe(ref, signal),
      categories: (signal) => hub.categories(signal),
      locate: (file, signal) => hub.locate(file, signal),
      readRange: (file, offset, length, signal) => hub.readRange(file, offset, length, signal),
    };
    await world.reopen({ config: { maxBytesPerSecond: 64 * 1024 }, source: mirror });
    const left = await world.room.startDownload({ modelId: 'mirror:acme/tiny-GGUF', ...q4Request });
    await eventually('its files are known', async () => (await world.room.downloads.get(left.task.id)).files.length > 0);
    await world.room.downloads.pause(left.task.id, never);
    await world.reopen();
    await http.close();
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'completed');
    expect(await world.room.downloads.cancel(left.task.id, never)).toMatchObject({ status: 'cancelled' });
  });

  it('lists newest first, in pages that neither repeat nor skip', async () => {
    const ids: string[] = [];
    for (const include of [['README.md'], ['config.json'], ['*.gguf']]) ids.push((await world.room.startDownload({ include })).task.id);
    const first = await world.room.downloads.list({}, { limit: 2 });
    expect(first).toMatchObject({ total: 3 });
    const second = await world.room.downloads.list({}, { limit: 2, cursor: first.nextCursor! });
    expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(ids.reverse());
    expect(second.nextCursor).toBeNull();
    expect(await world.room.downloads.list({ modelId: 'huggingface:acme/other' }, { limit: 2 })).toMatchObject({ items: [], total: 0 });
    await Promise.all(ids.map((id) => world.room.reaches(id, 'completed')));
  });

  it('refuses what the state does not allow, and says what would', async () => {
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'completed');
    await expect(world.room.downloads.pause(task.id, never)).rejects.toMatchObject({ code: 'INVALID_STATE', details: { status: 'completed' } });
    await expect(world.room.downloads.retry(task.id, never)).rejects.toMatchObject({ code: 'INVALID_STATE', details: { allowed: ['failed', 'cancelled'] } });
    await expect(world.room.downloads.get('0192f000-0000-7000-8000-000000000099')).rejects.toMatchObject({ code: 'DOWNLOAD_NOT_FOUND' });
    expect(await world.room.downloads.find('no id')).toBeNull();
  });
});

describe('a limit of speed', () => {
  const slow = 64 * 1024;

  it('of a task is changed while it runs, kept over a pause, and lifted', async () => {
    const { task } = await world.room.startDownload({ ...q4Request, maxBytesPerSecond: slow });
    await world.room.reaches(task.id, 'running');
    expect(await world.room.downloads.prioritize(task.id, { maxBytesPerSecond: 2 * slow }, never)).toMatchObject({ maxBytesPerSecond: 2 * slow, priority: 0 });
    await world.room.downloads.pause(task.id, never);
    await world.room.downloads.resume(task.id, never);
    await world.room.reaches(task.id, 'running');
    expect(await world.room.downloads.get(task.id)).toMatchObject({ maxBytesPerSecond: 2 * slow });
    // Under it the file would take most of a minute, longer than this test waits.
    await world.room.downloads.prioritize(task.id, { maxBytesPerSecond: null }, never);
    expect(await world.room.reaches(task.id, 'completed')).toMatchObject({ maxBytesPerSecond: null });
  });

  it('over all tasks is changed while they run', async () => {
    expect(await world.room.downloads.limit(slow, never)).toMatchObject({ maxBytesPerSecond: slow, parallel: 3 });
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'running');
    expect(await world.room.downloads.limit(null, never)).toEqual(world.room.downloads.limits());
    await world.room.reaches(task.id, 'completed');
  });

  it('is felt also by the worker of another process', async () => {
    await world.room.downloads.limit(slow, never);
    const { task } = await world.room.startDownload({ ...q4Request, maxBytesPerSecond: slow });
    await world.room.reaches(task.id, 'running');
    // What the service on which somebody changed them says.
    world.room.events.publish('download.limited', 'all', { taskId: null, maxBytesPerSecond: null });
    world.room.events.publish('download.limited', task.id, { taskId: task.id, maxBytesPerSecond: null });
    await world.room.reaches(task.id, 'completed');
    expect(world.room.downloads.limits()).toMatchObject({ maxBytesPerSecond: null });
  });

  it('over all tasks is kept over a restart, until the setting says something else', async () => {
    await world.room.downloads.limit(slow, never);
    await world.reopen({ config: {} });
    expect(world.room.downloads.limits()).toMatchObject({ maxBytesPerSecond: slow });
    await world.reopen({ config: { maxBytesPerSecond: 3 * slow } });
    expect(world.room.downloads.limits()).toMatchObject({ maxBytesPerSecond: 3 * slow });
    await world.room.downloads.limit(null, never);
    await world.reopen({ config: { maxBytesPerSecond: 3 * slow } });
    expect(world.room.downloads.limits()).toMatchObject({ maxBytesPerSecond: null });
  });

  it('must be a speed', async () => {
    const { task } = await world.room.startDownload({ ...q4Request, maxBytesPerSecond: slow });
    await expect(world.room.downloads.prioritize(task.id, { maxBytesPerSecond: 0 }, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    await expect(world.room.downloads.prioritize(task.id, { priority: 101 }, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    await expect(world.room.downloads.limit(1.5, never)).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });
});

describe('removing', () => {
  it('takes the record away, and with it the files when that is asked for', async () => {
    const q4Task = (await world.room.startDownload(q4Request)).task;
    const q8Task = (await world.room.startDownload({ variant: 'Q8_0' })).task;
    await Promise.all([world.room.reaches(q4Task.id, 'completed'), world.room.reaches(q8Task.id, 'completed')]);
    await world.room.downloads.remove(q4Task.id, { deleteFiles: true }, never);
    expect(await world.room.downloads.find(q4Task.id)).toBeNull();
    expect(existsSync(join(world.home, 'blobs', sha256Of(q4)))).toBe(false);
    const snapshot = join(world.home, 'snapshots', world.repo.sha);
    // The other variant still has its small files.
    expect(readdirSync(snapshot).sort()).toEqual(['README.md', 'config.json', 'tiny.Q8_0.gguf']);
    expect(existsSync(join(world.home, 'blobs', gitBlobSha1Of(toContent(config))))).toBe(true);
    await world.room.downloads.remove(q8Task.id, { deleteFiles: true }, never);
    // Nothing of the model is left, not even a name of its revision.
    expect(existsSync(world.home)).toBe(false);
  });

  it('is refused while a deployment uses the model', async () => {
    await world.reopen({ deps: { isModelInUse: () => Promise.resolve(true) } });
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'completed');
    await expect(world.room.downloads.remove(task.id, { deleteFiles: true }, never)).rejects.toMatchObject({ code: 'MODEL_IN_USE' });
    expect(await world.room.downloads.find(task.id)).not.toBeNull();
  });

  it('notices that a file went away behind our back', async () => {
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'completed');
    const [model] = await world.room.installed.findByModel(task.modelId);
    await writeFile(join(world.home, 'blobs', sha256Of(q4)), 'short');
    expect(await world.room.installed.find(model!.id)).toMatchObject({ verification: 'missing' });
    // And fetches it again when it is asked for.
    const again = await world.room.startDownload(q4Request);
    expect(again.task.status).toBe('queued');
    await world.room.reaches(again.task.id, 'completed');
    expect(await world.room.installed.find(model!.id)).toMatchObject({ verification: 'verified' });
  });
});

describe('a new service', () => {
  it('goes on where the last one was when it ended in order', async () => {
    world.slowDown();
    const { task } = await world.room.startDownload(q4Request);
    await world.sent(2 * MiB);
    await world.closeRoom();
    const [stored] = await world.database.em().getConnection().execute<{ status: string; downloaded_bytes: string }[]>('select status, downloaded_bytes from download_tasks');
    expect(stored?.status).toBe('queued');
    await world.hub.requests.waitFor((log) => log.entries.every(({ state }) => state !== 'open'));
    world.hub.requests.clear();
    world.hub.faults.clear();
    await world.reopen();
    expect(await world.room.reaches(task.id, 'completed')).toMatchObject({ attempt: 2 });
    expect(world.sentBytes()).toBeLessThan(q4Bytes - Number(stored?.downloaded_bytes) + 2 * MiB);
  });

  it.each(['running', 'verifying', 'scanning', 'retrying'])('takes up a task that a killed one left %s', async (status) => {
    world.slowDown();
    const { task } = await world.room.startDownload(q4Request);
    await world.sent(MiB);
    await world.closeRoom();
    await world.database.em().getConnection().execute(`update download_tasks set status = '${status}', retry_at = null; delete from pgboss.job`);
    world.hub.faults.clear();
    await world.reopen();
    await world.room.reaches(task.id, 'completed');
  });

  it('leaves a paused task paused', async () => {
    world.slowDown();
    const { task } = await world.room.startDownload(q4Request);
    await world.sent(MiB);
    await world.room.downloads.pause(task.id, never);
    await world.reopen();
    expect(await world.room.downloads.get(task.id)).toMatchObject({ status: 'paused' });
    world.hub.faults.clear();
    await world.room.downloads.resume(task.id, never);
    await world.room.reaches(task.id, 'completed');
  });
});

describe('storage', () => {
  it('tells each volume with what is reserved for the queue', async () => {
    world.slowDown(64 * 1024);
    await world.room.startDownload({ variant: 'Q8_0' });
    const volumes = await world.room.installed.volumes();
    expect(volumes.map(({ purpose }) => purpose)).toEqual(['data', 'models', 'models']);
    expect(volumes.every(({ totalBytes, freeBytes }) => totalBytes > freeBytes && freeBytes > 0)).toBe(true);
  });
});
