import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from '@jest/globals';
import { MiB } from '../../support/downloads/engine.ts';
import { admin, ggufContent, never, type TestRoom } from '../../support/downloads/room.ts';
import { q4, q4Bytes, q4Request, useWorld } from '../../support/downloads/world.ts';
import { sha256Of, toContent } from '../../support/hub/content.ts';
import { refused, unavailable } from '../../support/hub/faults.ts';

const world = useWorld();

describe('what is refused at once', () => {
  const refusal = async (input: Parameters<TestRoom['startDownload']>[0], principal = admin): Promise<unknown> => world.room.startDownload(input, principal).then(({ task }) => task.status, (error: unknown) => error);

  it('is an unknown model, variant or source, or an Ollama server that is not there', async () => {
    expect(await refusal({ modelId: 'acme/none' })).toMatchObject({ code: 'MODEL_NOT_FOUND' });
    expect(await refusal({ variant: 'Q2_K' })).toMatchObject({ code: 'VALIDATION_FAILED' });
    expect(await refusal({ modelId: 'ollama:none' })).toMatchObject({ code: 'MODEL_NOT_FOUND' });
    expect(await refusal({ target: 'ollama' })).toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  it('is a format that can carry code, unless an administrator sets the rule aside', async () => {
    expect(await refusal({ include: ['*.bin'] })).toMatchObject({ code: 'UNSAFE_FILE', details: { paths: ['pickle.bin'] } });
    await expect(world.room.startDownload({ include: ['*.bin'], override: ['unsafe_format'] })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const { task } = await world.room.startDownload({ include: ['*.bin'], override: ['unsafe_format'] }, admin);
    expect(await world.room.reaches(task.id, 'completed')).toMatchObject({ override: ['unsafe_format'] });
  });

  it('is a gated model that we may not have', async () => {
    world.hub.addRepo({ id: 'acme/gated', gated: 'manual', files: [{ path: 'm.Q4_K_M.gguf', content: ggufContent('g', MiB) }] });
    expect(await refusal({ modelId: 'acme/gated' })).toMatchObject({ code: 'MODEL_GATED' });
  });

  it('is what does not fit on the disk, before the first byte, with the figures', async () => {
    await world.reopen({ config: { reserveBytes: 2 ** 52 } });
    expect(await refusal(q4Request)).toMatchObject({ code: 'INSUFFICIENT_STORAGE', details: { required_bytes: q4Bytes, available_bytes: 0 } });
    expect((await world.room.downloads.list({}, { limit: 10 })).items).toEqual([]);
  });
});

describe('a source that is not at its best', () => {
  // Without what the catalogue remembers of the model.
  beforeEach(() => world.reopen());

  it('gives a task without sizes when it is slow, which goes on when it answers', async () => {
    const gate = Promise.withResolvers<undefined>();
    world.hub.faults.inject({ fault: { kind: 'slow_start', until: gate.promise }, server: 'hub' });
    const { task, created } = await world.room.startDownload(q4Request);
    expect({ created, total: task.totalBytes, files: task.files }).toEqual({ created: true, total: null, files: [] });
    expect(await world.room.startDownload(q4Request)).toMatchObject({ created: false, task: { id: task.id } });
    world.hub.faults.clear();
    gate.resolve(undefined);
    expect(await world.room.reaches(task.id, 'completed')).toMatchObject({ totalBytes: q4Bytes, revision: world.repo.sha });
  });

  it('gives a task that retries when it fails, and says why', async () => {
    world.hub.faults.inject({ fault: unavailable(), server: 'hub' });
    const { task } = await world.room.startDownload(q4Request);
    expect(task).toMatchObject({ status: 'retrying', totalBytes: null, error: { code: 'SOURCE_UNAVAILABLE' } });
    world.hub.faults.clear();
    await world.room.downloads.resume(task.id, never);
    expect(await world.room.reaches(task.id, 'completed')).toMatchObject({ error: null });
  });

  it('fails the task in the end when the model turns out not to exist', async () => {
    const injected = world.hub.faults.inject({ fault: unavailable(), server: 'hub' });
    const { task } = await world.room.startDownload({ modelId: 'acme/none' });
    injected.remove();
    await world.room.downloads.resume(task.id, never);
    expect(await world.room.reaches(task.id, 'failed')).toMatchObject({ error: { code: 'MODEL_NOT_FOUND' } });
  });

  it('waits with the task when the network is gone, and goes on by itself', async () => {
    world.hub.faults.inject({ fault: { kind: 'close' }, server: 'cdn', match: /./, nth: Array.from({ length: 2000 }, (_, index) => index + 6) });
    const { task } = await world.room.startDownload(q4Request);
    const waiting = await world.room.reaches(task.id, 'retrying');
    expect(waiting.error).toMatchObject({ code: 'NETWORK_FAILED' });
    world.hub.requests.clear();
    world.hub.faults.clear();
    expect(await world.room.reaches(task.id, 'completed')).toMatchObject({ attempt: 2, error: null });
    expect(world.sentBytes()).toBeLessThan(q4Bytes - waiting.downloadedBytes + 2 * MiB);
  });

  it('fails the task when access is withdrawn in the middle', async () => {
    world.slowDown();
    const { task } = await world.room.startDownload(q4Request);
    await world.sent(MiB);
    world.hub.faults.clear();
    world.hub.faults.inject({ fault: refused(403, 'GatedRepo', 'no'), server: 'hub' });
    world.hub.expireUrls();
    expect(await world.room.reaches(task.id, 'failed')).toMatchObject({ error: { code: 'MODEL_GATED' } });
  });
});

describe('a bad file', () => {
  it('never gets a final name, and fails the task with INTEGRITY_FAILED', async () => {
    world.hub.faults.inject({ fault: { kind: 'flip', atByte: 3 * MiB }, match: new RegExp(sha256Of(q4)) });
    const { task } = await world.room.startDownload(q4Request);
    expect(await world.room.reaches(task.id, 'failed')).toMatchObject({ error: { code: 'INTEGRITY_FAILED' } });
    expect(existsSync(join(world.home, 'blobs', sha256Of(q4)))).toBe(false);
    expect(existsSync(join(world.home, 'snapshots'))).toBe(false);
    expect(await world.room.installed.findByModel(task.modelId)).toEqual([]);
  });

  it.each([
    ['m.Q4_K_M.gguf', Buffer.from('GGUF and then nothing that makes sense'.repeat(40_000))],
    ['m.Q4_K_M.gguf', Buffer.concat([Buffer.from([0x80, 2, 0x7d, 0x71]), Buffer.alloc(MiB)])],
    ['model.safetensors', Buffer.concat([Buffer.from('PK\u0003\u0004'), Buffer.alloc(MiB)])],
    ['config.json', Buffer.concat([Buffer.from([0x7f]), Buffer.from('ELF'), Buffer.alloc(100)])],
  ])('is stopped before it is installed when it is not what its name says: %s', async (path, content) => {
    const id = `acme/evil-${sha256Of(toContent(content)).slice(0, 8)}`;
    world.hub.addRepo({ id, files: [{ path, content, lfs: true }] });
    const { task } = await world.room.startDownload({ modelId: id, include: [path] });
    expect(await world.room.reaches(task.id, 'failed', 'completed')).toMatchObject({ status: 'failed', error: { code: 'BLOCKED_BY_SCAN' } });
    expect(existsSync(join(world.room.config.hfCacheDir, `models--${id.replace('/', '--')}`, 'blobs', sha256Of(toContent(content))))).toBe(false);
  });
});
