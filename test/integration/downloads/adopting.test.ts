import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import type { InstalledModelView } from '../../../src/domains/downloads/types.ts';
import { MiB } from '../../support/downloads/engine.ts';
import { never } from '../../support/downloads/room.ts';
import { blob, config, q4, q4Request, useWorld } from '../../support/downloads/world.ts';
import { eventually } from '../../support/eventually.ts';
import { gitBlobSha1Of, sha256Of, toContent } from '../../support/hub/content.ts';

const world = useWorld();
const bytesOf = (content: typeof q4): Buffer => Buffer.from(content.slice(0, content.size));

/** As other tools leave them: a blob by its digest, and a link to it under the file's name. */
function cache(path: string, bytes: Buffer, digest: string, { home = world.home, revision = world.repo.sha } = {}): string {
  const snapshot = join(home, 'snapshots', revision);
  mkdirSync(join(home, 'blobs'), { recursive: true });
  mkdirSync(snapshot, { recursive: true });
  const file = join(home, 'blobs', digest);
  writeFileSync(file, bytes);
  symlinkSync(join('..', '..', 'blobs', digest), join(snapshot, path));
  return file;
}

function linkToElsewhere(): void {
  const snapshot = join(world.home, 'snapshots', world.repo.sha);
  mkdirSync(snapshot, { recursive: true });
  symlinkSync('/etc/hostname', join(snapshot, 'tiny.Q4_K_M.gguf'));
}

const cacheWeights = (bytes = bytesOf(q4)): string => cache('tiny.Q4_K_M.gguf', bytes, sha256Of(q4));
const cacheConfig = (): string => cache('config.json', Buffer.from(config), gitBlobSha1Of(toContent(config)));
const adopt = (modelId: string | null = null): Promise<readonly InstalledModelView[]> => world.room.installed.adopt(modelId, never);
const fetchedBytes = (): number => world.hub.requests.bytesSent(blob);

describe('models that other tools have put into the shared cache', () => {
  it('count as installed, compared with what the Hub promises and looked into, and are not fetched again', async () => {
    cacheWeights();
    cacheConfig();
    const [model, ...others] = await adopt();
    expect(others).toEqual([]);
    expect(model).toMatchObject({ modelId: 'huggingface:acme/tiny-GGUF', revision: world.repo.sha, variant: 'Q4_K_M', format: 'gguf', verification: 'verified' });
    expect(model?.files).toEqual([
      expect.objectContaining({ path: 'config.json', scan: expect.objectContaining({ verdict: 'CLEAN' }) }),
      expect.objectContaining({ path: 'tiny.Q4_K_M.gguf', sha256: sha256Of(q4), scan: expect.objectContaining({ verdict: 'CLEAN' }) }),
    ]);
    expect(await adopt()).toEqual([]);
    world.hub.requests.clear();
    // What is still missing of the small files comes; of the weights the catalogue reads the header.
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'completed');
    expect(fetchedBytes()).toBeLessThan(MiB);
    const installed = await world.room.installed.findByModel(model?.modelId ?? '');
    expect(installed.map(({ id, files }) => [id, files.length])).toEqual([[model?.id, 3]]);
    expect((await world.room.startDownload(q4Request)).task.status).toBe('completed');
  });

  it('are found at the start', async () => {
    cacheWeights();
    await world.reopen({ config: { adoptAtStart: true } });
    await eventually('it is installed', async () => ((await world.room.installed.findByModel('huggingface:acme/tiny-GGUF')).length === 1 ? true : null));
  });

  it('are compared with the names that the cache has for them while the Hub cannot be asked', async () => {
    cacheWeights();
    world.hub.faults.inject({ fault: { kind: 'status', status: 503 }, server: 'hub' });
    expect(await adopt()).toMatchObject([{ variant: 'Q4_K_M', files: [{ sha256: sha256Of(q4) }] }]);
  });

  it.each<[string, () => unknown]>([
    ['damaged', () => cacheWeights(Buffer.concat([bytesOf(q4).subarray(0, -1), Buffer.from([bytesOf(q4).at(-1)! ^ 1])]))],
    ['cut off', () => cacheWeights(bytesOf(q4).subarray(0, -1))],
    ['gone but for their names', () => rmSync(cacheWeights())],
    ['of formats that can carry code', () => cache('pickle.bin', Buffer.from('weights'), gitBlobSha1Of(toContent('weights')))],
    ['half of a split model', () => cache('big-00001-of-00002.gguf', bytesOf(q4), sha256Of(q4))],
    ['links to elsewhere', linkToElsewhere],
    ['of no model that has a name', () => cache('tiny.Q4_K_M.gguf', bytesOf(q4), sha256Of(q4), { home: join(world.room.config.hfCacheDir, 'models--..--x') })],
    ['of no commit', () => cache('tiny.Q4_K_M.gguf', bytesOf(q4), sha256Of(q4), { revision: 'main' })],
  ])('are left alone when they are %s', async (_what, put) => {
    put();
    expect(await adopt()).toEqual([]);
    expect(await world.room.installed.list({ limit: 10 })).toMatchObject({ items: [] });
  });

  it('are not entered a second time beside a choice of their files', async () => {
    const { task } = await world.room.startDownload({ include: ['tiny.Q4_K_M.gguf'] });
    await world.room.reaches(task.id, 'completed');
    expect(await adopt()).toEqual([]);
    await world.room.downloads.remove(task.id, { deleteFiles: true }, never);
    expect(existsSync(join(world.home, 'blobs', sha256Of(q4)))).toBe(false);
  });

  it('are left to the download that fetches them', async () => {
    world.slowDown(64 * 1024);
    await world.room.startDownload(q4Request);
    cacheWeights();
    expect(await adopt()).toEqual([]);
  });

  it('are left alone when a scan finds harm in them', async () => {
    const evil = Buffer.from('GGUF and no more');
    cache('evil.Q8_0.gguf', evil, sha256Of(toContent(evil)), { home: join(world.room.config.hfCacheDir, 'models--acme--evil') });
    const file = cacheWeights();
    expect((await adopt('huggingface:acme/evil')).length).toBe(0);
    expect((await adopt('huggingface:acme/tiny-GGUF')).length).toBe(1);
    expect(readFileSync(file).length).toBe(q4.size);
  });
});
