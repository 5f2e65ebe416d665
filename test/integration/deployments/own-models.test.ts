import { mkdtempSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { createOllamaRuntime } from '../../../src/domains/deployments/runtimes/ollama/ollama.runtime.ts';
import { createStreamingHttp } from '../../../src/infrastructure/http/streaming-http.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { admin, createDeploymentsBench, never, operator, type BenchOptions, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { installedTiny } from '../../support/installed-tiny.ts';
import { createOllamaDaemon, QUEUE_FULL, type OllamaDaemon } from '../../support/ollama/daemon.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const folder = mkdtempSync(join(tmpdir(), 'llmm-own-models-'));
writeFileSync(join(folder, 'tiny.gguf'), buildTinyGguf());
const http = createStreamingHttp();
let database: TestDatabase;
let daemon: OllamaDaemon;
let bench: DeploymentsBench;

beforeAll(async () => {
  database = await createTestDatabase();
});
beforeEach(async () => {
  const hub = { name: 'hf.co/acme/Tiny-GGUF:Q4_K_M', size: 3 };
  daemon = await createOllamaDaemon({ models: [{ name: 'smollm2:135m', size: 98_000_000, quantization: 'Q4_1', contextLength: 2048 }, { name: 'mine/own', size: 5 }, { name: 'llm-manager-0123456789abcdef01234567', size: 7 }, hub, { name: '127.0.0.1:5000/library/lan:latest', size: 4 }, { name: '../../../etc/passwd', size: 1 }] });
});
afterEach(async () => {
  await bench.close();
  await daemon.close();
});
afterAll(async () => {
  await http.close();
  await database.drop();
  await rm(folder, { recursive: true });
});

async function open(options: Partial<BenchOptions> = {}): Promise<void> {
  bench = await createDeploymentsBench({ em: database.em(), runtimes: [createOllamaRuntime({ host: daemon.endpoint, http: http.request, fetch: http.fetch })], ...options });
  await bench.start(never);
}

it('what people have pulled with Ollama is listed by ids that start it; what was made from a file of ours is not', async () => {
  await open();
  expect(await bench.deployments.ownModels('ollama', never)).toEqual([
    { modelId: 'ollama:smollm2:135m', sizeBytes: 98_000_000, quantization: 'Q4_1' },
    { modelId: 'ollama:mine/own', sizeBytes: 5, quantization: expect.anything() },
    { modelId: 'ollama:hf.co/acme/Tiny-GGUF:Q4_K_M', sizeBytes: 3, quantization: expect.anything() },
    { modelId: 'ollama:127.0.0.1:5000/library/lan', sizeBytes: 4, quantization: expect.anything() },
  ]);
  expect(await bench.deployments.ownModels('nothing', never)).toEqual([]);
  daemon.faults.inject({ match: /\/api\/tags/, fault: QUEUE_FULL });
  expect(await bench.deployments.ownModels('ollama', never)).toEqual([]);
});

it.each([['ollama:smollm2:135m', undefined], ['smollm2:135m', undefined], ['ollama:smollm2', '135m']])('starts %s (variant %s) from the store of Ollama: nothing is sent or pulled, and its memory is left to Ollama', async (modelId, variant) => {
  await open({ availableBytes: 0 });
  const started = await bench.deployments.start({ modelId, ...(variant ? { variant } : {}), runtime: 'ollama', override: [] }, operator, never);
  expect(started).toMatchObject({ modelId: 'ollama:smollm2:135m', installedModelId: null, name: expect.stringMatching(/^smollm2-135m/) });
  await bench.reaches(started.id, 'running');
  expect(daemon.state.runners.get('smollm2:135m')?.contextLength).toBe(2048);
  expect(daemon.requests.matching(/blobs|create|pull/)).toEqual([]);
  expect(await bench.deployments.target(started.id, never)).toMatchObject({ model: 'smollm2:135m' });
  await bench.deployments.restart(started.id, operator, never);
  await bench.reaches(started.id, 'running');
  await bench.deployments.stop(started.id, never);
  await bench.reaches(started.id, 'stopped');
  expect(daemon.state.runners.size).toBe(0);
  expect(daemon.state.models.has('smollm2:135m')).toBe(true);
});

it.each([['ollama:hf.co/acme/Tiny-GGUF:Q4_K_M', undefined, 'tiny-gguf-q4_k_m'], ['ollama:hf.co/acme/Tiny-GGUF', 'Q4_K_M', 'tiny-gguf-q4_k_m'], ['ollama:127.0.0.1:5000/library/lan', undefined, 'lan']])(
  'starts what Ollama has from another registry by its whole name: %s (variant %s)',
  async (modelId, variant, name) => {
    await open();
    const started = await bench.deployments.start({ modelId, ...(variant ? { variant } : {}), runtime: 'ollama', override: [] }, operator, never);
    expect(started).toMatchObject({ installedModelId: null, name: expect.stringContaining(name) });
    await bench.reaches(started.id, 'running');
    expect(`ollama:${(await bench.deployments.target(started.id, never)).model}`).toBe(variant === undefined ? `${modelId}${modelId.endsWith('lan') ? ':latest' : ''}` : `${modelId}:${variant}`);
    await bench.deployments.restart(started.id, operator, never);
    await bench.reaches(started.id, 'running');
    await bench.deployments.delete(started.id, never);
    expect(daemon.state.runners.size).toBe(0);
  },
);

it('refuses a name that neither store has, before and when it is started again', async () => {
  await open();
  const start = (modelId: string): Promise<{ id: string }> => bench.deployments.start({ modelId, runtime: 'ollama', override: [] }, admin, never);
  for (const modelId of ['ollama:smollm2', 'ollama:nope:1b', 'huggingface:acme/own']) await expect(start(modelId)).rejects.toMatchObject({ code: 'MODEL_NOT_INSTALLED' });
  const { id } = await start('ollama:mine/own:latest');
  await bench.reaches(id, 'running');
  await bench.deployments.stop(id, never);
  await bench.reaches(id, 'stopped');
  daemon.state.models.delete('mine/own:latest');
  await expect(bench.deployments.start({ deploymentId: id, override: [] }, admin, never)).rejects.toMatchObject({ code: 'MODEL_NOT_INSTALLED' });
});

it('takes the model that is installed here, which was checked here, where both stores have the name', async () => {
  await open({ installed: [installedTiny(folder, { modelId: 'ollama:smollm2:135m' })] });
  const started = await bench.deployments.start({ modelId: 'ollama:smollm2:135m', runtime: 'ollama', override: [] }, operator, never);
  expect(started.installedModelId).not.toBeNull();
  await bench.reaches(started.id, 'running');
  expect([...daemon.state.runners.keys()]).toEqual([expect.stringMatching(/^llm-manager-/)]);
});
