import { existsSync, readdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createOllamaSource } from '../../../src/domains/catalog/sources/ollama/ollama.source.ts';
import { createOllamaStore } from '../../../src/domains/downloads/transfer/ollama-pull.ts';
import type { DownloadTaskView } from '../../../src/domains/downloads/types.ts';
import { createCache } from '../../../src/infrastructure/cache/bento-cache.ts';
import { createOutgoingHttp } from '../../../src/infrastructure/http/outgoing-http.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../../support/data-dir.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { MiB } from '../../support/downloads/engine.ts';
import { ggufContent, never, openRoom, type TestRoom } from '../../support/downloads/room.ts';
import { emptyTables } from '../../support/downloads/world.ts';
import { eventually } from '../../support/eventually.ts';
import { createOllamaDaemon, type OllamaDaemon } from '../../support/ollama/daemon.ts';
import { toModel } from '../../support/ollama/daemon-models.ts';
import { createOllamaLibrary, type OllamaLibrary } from '../../support/ollama/library.ts';
import { createOllamaRegistry, type OllamaRegistry, type RegistryModel } from '../../support/ollama/registry.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const weights = ggufContent('ollama', 6 * MiB);
const earlierBytes = 2 * MiB;

let database: TestDatabase;
let folder: TemporaryFolder;
let registry: OllamaRegistry;
let library: OllamaLibrary;
let daemon: OllamaDaemon;
let model: RegistryModel;
let room: TestRoom;
const closers: (() => Promise<unknown>)[] = [];

/** As the server names a model from a registry that is not its own. */
const name = (): string => `${new URL(registry.endpoint).host}/library/tiny:q4`;
const weightsDigest = (): string => model.manifest.layers[0]?.digest ?? '';

beforeAll(async () => {
  [database, folder, registry, library] = await Promise.all([createTestDatabase(), createTemporaryFolder('ollama-target'), createOllamaRegistry(), createOllamaLibrary()]);
  model = registry.addModel({ name: 'tiny', tag: 'q4', layers: [{ kind: 'model', content: weights }, { kind: 'template', content: '{{ .Prompt }}' }] });
  const layers = [...model.manifest.layers, model.manifest.config];
  daemon = await createOllamaDaemon({ pullable: [{ model: { name: name(), digest: model.digest, size: weights.size }, layers }] });
  const http = createOutgoingHttp({ userAgent: 'llm-manager/test' });
  const cache = createCache(systemClock);
  const source = createOllamaSource({ http: http.request, clock: systemClock, logger: silentLogger, cache, libraryEndpoint: library.endpoint, registryEndpoint: registry.endpoint });
  const ollama = createOllamaStore({ host: daemon.endpoint, fetch, registryEndpoint: registry.endpoint, hubEndpoint: 'https://huggingface.co' });
  room = await openRoom({ orm: database.orm, databaseUrl: database.url, folder: folder.path, endpoint: 'http://127.0.0.1:9', source, deps: { ollama } });
  closers.push(() => room.close(), () => http.close(), () => cache.close(), () => daemon.close(), () => registry.close(), () => library.close(), () => database.drop(), () => folder.remove());
});
afterAll(async () => {
  for (const close of closers) await close();
});
afterEach(async () => {
  for (const { id } of (await room.downloads.list({}, { limit: 100 })).items) await room.downloads.cancel(id, never).catch(() => null);
  await database.em().getConnection().execute(emptyTables);
  daemon.faults.clear();
  daemon.requests.clear();
  daemon.knobs.pullFrameMilliseconds = 2;
  for (const kept of [daemon.state.models, daemon.state.pulled, daemon.state.installedLayers]) kept.clear();
});

const start = async (more: Parameters<TestRoom['startDownload']>[0] = {}): Promise<DownloadTaskView> =>
  (await room.startDownload({ modelId: 'ollama:tiny:q4', target: 'ollama', ...more })).task;

/** A pull that an earlier one has brought some way, and that comes no further until the server is let go. */
async function startHeld(): Promise<DownloadTaskView> {
  daemon.state.pulled.set(weightsDigest(), earlierBytes);
  daemon.knobs.pullFrameMilliseconds = 600_000;
  const { id } = await start();
  return await eventually('figures come', async () => {
    const task = await room.downloads.get(id);
    return task.status === 'running' && task.downloadedBytes === earlierBytes ? task : null;
  }, 20_000);
}

const pulls = () => daemon.requests.matching(/^\/api\/pull/);

describe('the Ollama server as a target', () => {
  it('pulls by itself into its own store, and nothing comes into ours', async () => {
    const { id } = await start();
    const task = await room.reaches(id, 'completed', 'failed');
    expect(task).toMatchObject({ status: 'completed', target: 'ollama', revision: model.digest, progress: 1, error: null });
    expect(task.downloadedBytes).toBe(task.totalBytes);
    expect(task.files.map(({ path, status, downloadedBytes, sizeBytes }) => [path, status, downloadedBytes === sizeBytes])).toEqual([
      ['template.txt', 'completed', true],
      ['tiny-q4.gguf', 'completed', true],
    ]);
    expect([...daemon.state.models.keys()]).toEqual([name()]);
    expect(await room.installed.list({ limit: 10 })).toMatchObject({ items: [] });
    expect(existsSync(room.config.modelsDir) ? readdirSync(room.config.modelsDir) : []).toEqual([]);
  });

  it('is asked nothing when it has the model already', async () => {
    daemon.state.models.set(name(), toModel({ name: name(), digest: model.digest }));
    expect(await start()).toMatchObject({ status: 'completed', progress: 1 });
    expect(pulls()).toEqual([]);
  });

  it('lets go of the connection when the download is paused, and goes on where it was', async () => {
    const { id } = await startHeld();
    expect(await room.downloads.pause(id, never)).toMatchObject({ status: 'paused', downloadedBytes: earlierBytes });
    await daemon.requests.waitFor((log) => log.matching(/^\/api\/pull/).every(({ state }) => state === 'aborted'));
    daemon.knobs.pullFrameMilliseconds = 2;
    await room.downloads.resume(id, never);
    await room.reaches(id, 'completed');
    expect(pulls()).toHaveLength(2);
  });

  it('stops when the download is cancelled, and can be asked again', async () => {
    const { id } = await startHeld();
    expect(await room.downloads.cancel(id, never)).toMatchObject({ status: 'cancelled' });
    await daemon.requests.waitFor((log) => log.matching(/^\/api\/pull/).every(({ state }) => state === 'aborted'));
    expect(daemon.state.models.size).toBe(0);
    daemon.knobs.pullFrameMilliseconds = 2;
    await room.downloads.retry(id, never);
    await room.reaches(id, 'completed');
  });

  it('answers the same task while one is unfinished, and another one for the target local', async () => {
    const { id } = await startHeld();
    expect(await room.startDownload({ modelId: 'ollama:tiny:q4', target: 'ollama' })).toMatchObject({ created: false, task: { id } });
    expect((await room.startDownload({ modelId: 'ollama:tiny:q4' })).task.id).not.toBe(id);
  });

  it('gives up its model together with the record when that is asked for', async () => {
    const { id } = await start();
    await room.reaches(id, 'completed');
    await room.downloads.remove(id, { deleteFiles: true }, never);
    expect(daemon.state.models.size).toBe(0);
  });

  it.each([
    ['pull model manifest: Get "http://x": dial tcp: connection refused', 'retrying', 'NETWORK_FAILED'],
    ['max retries exceeded: EOF', 'retrying', 'NETWORK_FAILED'],
    ['write blobs/x: no space left on device', 'retrying', 'INSUFFICIENT_STORAGE'],
    ['pull model manifest: file does not exist', 'failed', 'MODEL_NOT_FOUND'],
    ['The model you are attempting to pull requires a newer version of Ollama.', 'failed', 'UNSUPPORTED_MODEL'],
    [null, 'retrying', 'NETWORK_FAILED'],
  ] as const)('that answers %j leaves the download %s with %s', async (error, status, code) => {
    const body = `{"status":"pulling manifest"}\n${error === null ? '' : `${JSON.stringify({ error })}\n`}`;
    daemon.faults.inject({ fault: { kind: 'status', status: 200, body }, match: /^\/api\/pull/ });
    const { id } = await start();
    expect(await room.reaches(id, 'retrying', 'failed')).toMatchObject({ status, error: { code } });
  });

  it('is told about at once when it is not there', async () => {
    daemon.faults.inject({ fault: { kind: 'close' } });
    await expect(start()).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  it.each([
    ['include', { include: ['*.gguf'] }],
    ['max_bytes_per_second', { maxBytesPerSecond: 100_000 }],
    ['revision', { modelId: 'acme/tiny-GGUF', revision: 'v1' }],
  ])('refuses %s, which its pull cannot honour', async (field, input) => {
    await expect(start(input)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [expect.objectContaining({ field })] } });
  });
});
