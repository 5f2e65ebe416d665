import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createLlamaCppRuntime } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import { createRemoteRuntime } from '../../../src/domains/deployments/runtimes/remote/remote.runtime.ts';
import type { DeploymentConfig, StartDeployment } from '../../../src/domains/deployments/types.ts';
import type { InstalledModelView } from '../../../src/domains/downloads/types.ts';
import { freePort } from '../../../src/platform/free-port.ts';
import { newId } from '../../../src/shared/ids.ts';
import type { Principal } from '../../../src/shared/principal.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { admin, createDeploymentsBench, never, operator, type BenchOptions, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { eventually } from '../../support/eventually.ts';
import { startOpenAiServer, type OpenAiServer } from '../../support/openai-server.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { createSmallEngineRuntime } from '../../support/small-engine-runtime.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

let database: TestDatabase;
let bench: DeploymentsBench;
let folder: string;
const modelId = 'huggingface:acme/Tiny-Story-GGUF';

beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'llmm-requests-'));
  await writeFile(join(folder, 'tiny.gguf'), buildTinyGguf());
  await writeFile(join(folder, 'broken.gguf'), buildTinyGguf().subarray(0, 100_000));
});
afterAll(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  await open();
});
afterEach(async () => {
  await bench.close();
});

function installed(change: Partial<InstalledModelView> = {}, file = 'tiny.gguf'): InstalledModelView {
  return {
    id: newId(), modelId, revision: 'a'.repeat(40), variant: 'F16', format: 'gguf', quantization: 'F16', sizeBytes: 743_168, folder,
    files: [{ path: file, sizeBytes: 743_168, sha256: null, gitSha1: null }], verification: 'verified', installedAt: new Date(), lastUsedAt: null, ...change,
  };
}

async function open(options: Partial<BenchOptions> = {}): Promise<void> {
  const runtimes = [createLlamaCppRuntime({ http: plainHttp }), createSmallEngineRuntime(), createRemoteRuntime({ http: plainHttp })];
  bench = await createDeploymentsBench({ em: database.em(), runtimes, installed: [installed()], ...options });
}

function start(input: Partial<StartDeployment>, principal: Principal = operator): ReturnType<typeof bench.deployments.start> {
  return bench.deployments.start({ override: [], ...input }, principal, never);
}
const small = (input: Partial<StartDeployment> = {}): ReturnType<typeof start> => start({ runtime: 'small', ...input });

describe('names', () => {
  it('come from the model, numbered where one is taken', async () => {
    const names = [];
    for (let times = 0; times < 3; times += 1) names.push((await start({ modelId, config: { threads: 1, gpuLayers: 0, contextSize: 64 } })).name);
    expect(names).toEqual(['tiny-story-gguf', 'tiny-story-gguf-2', 'tiny-story-gguf-3']);
    expect((await bench.deployments.findByName('tiny-story-gguf-2'))?.modelId).toBe(modelId);
  });

  it('that no database holds belong to none', async () => {
    expect(await Promise.all(['a\0b', '\0', 'half \ud83d'].map((name) => bench.deployments.findByName(name)))).toEqual([null, null, null]);
  });

  it('belong to one deployment, also when two ask at the same time', async () => {
    const results = await Promise.allSettled([small({ name: 'mine' }), small({ name: 'mine' })]);
    expect(results.map((result) => result.status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(results.find((result) => result.status === 'rejected')).toMatchObject({ reason: { code: 'NAME_TAKEN', details: { name: 'mine' } } });
    const other = await small({ name: 'other' });
    await expect(bench.deployments.update(other.id, { name: 'mine' }, never)).rejects.toMatchObject({ code: 'NAME_TAKEN' });
    expect((await bench.deployments.update(other.id, { name: 'renamed' }, never)).name).toBe('renamed');
  });
});

describe('ports', () => {
  it('that another program has are refused', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    await expect(small({ config: { port } })).rejects.toMatchObject({ code: 'PORT_IN_USE', details: { port } });
    server.close();
  });

  it('that another deployment has are refused by its name, also when two ask at the same time', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    const results = await Promise.allSettled([small({ name: 'holder-1', config: { port } }), small({ name: 'holder-2', config: { port } })]);
    const refused = results.find((result) => result.status === 'rejected');
    expect(refused).toMatchObject({ reason: { code: 'PORT_IN_USE', message: expect.stringMatching(/deployment holder-[12]/), details: { port, deployment_name: expect.any(String) } } });
  });
});

describe('bad input', () => {
  it('is refused with every fault at once, in the names of the REST contract', async () => {
    const config = { port: 80, contextSize: 1, parallel: 300, health: { failures: 0 }, restart: { maxRetries: -1 }, environment: { LD_PRELOAD: 'x', 'bad-name': 'y' }, image: 'x', unknownThing: 1 } as DeploymentConfig;
    const failure = (await small({ name: 'No Spaces!', config }).catch((error: unknown) => error)) as { code: string; details: { fields: { field: string }[] } };
    expect(failure.code).toBe('VALIDATION_FAILED');
    expect(failure.details.fields.map((fault) => fault.field).sort()).toEqual([
      'config.context_size', 'config.environment', 'config.environment.LD_PRELOAD', 'config.health.failures', 'config.image', 'config.parallel', 'config.port',
      'config.restart.max_retries', 'config.unknown_thing', 'name',
    ]);
  });

  it.each(['LD_PRELOAD', 'LD_LIBRARY_PATH', 'NODE_OPTIONS', 'PATH', 'DYLD_INSERT_LIBRARIES', 'HTTPS_PROXY', 'BASH_ENV', 'PYTHONSTARTUP', 'HF_TOKEN', 'GGML_BACKEND_PATH', 'OMP_TOOL_LIBRARIES'])('never sets %s for an engine', async (name) => {
    await expect(small({ config: { environment: { [name]: 'x' } } })).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: `config.environment.${name}` }] } });
  });

  it('is told which fields go with which runtime', async () => {
    await expect(start({ runtime: 'nothing-like-it' })).rejects.toMatchObject({ details: { fields: [{ field: 'runtime', message: expect.stringContaining('llama-cpp') }] } });
    await expect(start({})).rejects.toMatchObject({ details: { fields: [{ field: 'model_id' }] } });
    await expect(start({ modelId, apiKey: 'x' })).rejects.toMatchObject({ details: { fields: [{ field: 'config.api_key' }] } });
    await expect(start({ modelId, config: { extraArgs: ['-x'] } })).rejects.toMatchObject({ details: { fields: [{ field: 'config.extra_args.0' }] } });
    await expect(start({ modelId: 'huggingface:../../etc' })).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    const { id } = await small();
    await expect(start({ deploymentId: id, name: 'x' })).rejects.toMatchObject({ details: { fields: [{ field: 'deployment_id' }] } });
    await expect(bench.deployments.update(id, { config: { contextSize: 1 } }, never)).rejects.toMatchObject({ details: { fields: [{ field: 'config.context_size' }] } });
  });

  it('keeps the config of a deployment whose runtime is gone: nobody could check another one', async () => {
    const { id } = await small();
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
    await bench.close();
    await open({ runtimes: [createRemoteRuntime({ http: plainHttp })] });
    await expect(bench.deployments.update(id, { config: { image: 'anything' } }, never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    expect(await bench.deployments.update(id, { name: 'without-runtime' }, never)).toMatchObject({ name: 'without-runtime', config: {} });
  });

  it('names deployments that are not there', async () => {
    for (const id of [newId(), 'no id at all', "' or 1=1 --"]) {
      await expect(bench.deployments.get(id)).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
      await expect(bench.deployments.stop(id, never)).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
      await expect(bench.deployments.target(id, never)).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
      expect(await bench.deployments.find(id)).toBeNull();
    }
  });
});

describe('who may', () => {
  it('start: an operator, but remote servers and set-aside rules only an admin', async () => {
    await expect(small().then(() => start({ runtime: 'small' }, { keyId: 'k', owner: 'o', role: 'USER' }))).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(start({ runtime: 'remote', config: { baseUrl: 'http://127.0.0.1:1' } })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(start({ modelId, override: ['fit'] })).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('bring back what has ended: by a restart no more than by a start', async () => {
    const { id } = await start({ runtime: 'remote', name: 'ended', config: { baseUrl: 'http://127.0.0.1:1', restart: { policy: 'never' } } }, admin);
    await bench.reaches(id, 'failed');
    await expect(bench.deployments.restart(id, operator, never)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect((await bench.deployments.restart(id, admin, never)).desiredStatus).toBe('running');
  });
});

describe('the same idempotency key', () => {
  it('answers with the first deployment, also when both come at once, and refuses another input', async () => {
    const input = { name: 'only-once', idempotencyKey: 'key-1' };
    const [first, second] = await Promise.all([small(input), small(input)]);
    expect(second.id).toBe(first.id);
    expect((await small(input)).id).toBe(first.id);
    await expect(small({ ...input, name: 'another' })).rejects.toMatchObject({ code: 'IDEMPOTENCY_CONFLICT' });
    expect((await start({ ...input, runtime: 'small', name: 'of-somebody-else' }, admin)).id).not.toBe(first.id);
  });

  it('answers with the first deployment although that has the wanted port by now', async () => {
    const input = { idempotencyKey: 'key-with-port', config: { port: await freePort() } };
    const [first, second] = await Promise.all([small(input), small(input)]);
    expect(second.id).toBe(first.id);
  });
});

describe('models', () => {
  it('must be installed, undamaged and in a format that the runtime loads', async () => {
    await bench.close();
    await open({ installed: [installed({ modelId: 'huggingface:acme/damaged', verification: 'damaged' }), installed({ modelId: 'huggingface:acme/tensors', format: 'safetensors' })] });
    await expect(start({ modelId })).rejects.toMatchObject({ code: 'MODEL_NOT_INSTALLED', details: { model_id: modelId } });
    await expect(start({ modelId: 'huggingface:acme/damaged' })).rejects.toMatchObject({ code: 'MODEL_NOT_INSTALLED' });
    await expect(start({ modelId: 'huggingface:acme/tensors' })).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
  });

  it('are checked before an engine sees them', async () => {
    await bench.close();
    await open({ installed: [installed({}, 'broken.gguf'), installed({ modelId: 'huggingface:acme/escape' }, '../../etc/passwd.gguf')] });
    await expect(start({ modelId })).rejects.toMatchObject({ code: 'UNSUPPORTED_MODEL' });
    await expect(start({ modelId: 'huggingface:acme/escape' })).rejects.toMatchObject({ code: 'UNSAFE_FILE' });
  });

  it('are taken in the variant that is asked for, else in the best that fits', async () => {
    await bench.close();
    const gibibyte = 1024 ** 3;
    const models = [installed({ variant: 'Q8_0', quantization: 'Q8_0', sizeBytes: 9 * gibibyte }), installed({ variant: 'Q4_K_M', quantization: 'Q4_K_M', sizeBytes: 4 * gibibyte }), installed({ variant: 'Q2_K', quantization: 'Q2_K', sizeBytes: 2 * gibibyte })];
    await open({ installed: models, availableBytes: 8 * gibibyte });
    const config = { threads: 1, gpuLayers: 0, contextSize: 64 };
    expect((await start({ modelId, config })).variant).toBe('Q4_K_M');
    expect((await start({ modelId, variant: 'q2_k', config })).variant).toBe('Q2_K');
    await expect(start({ modelId, variant: 'Q5_K_M', config })).rejects.toMatchObject({ code: 'MODEL_NOT_INSTALLED', details: { installed_variants: ['Q8_0', 'Q4_K_M', 'Q2_K'] } });
  });

  it('that do not fit are refused with what is missing, unless an admin sets the rule aside', async () => {
    await bench.close();
    await open({ availableBytes: 600 * 1024 ** 2 });
    await expect(start({ modelId })).rejects.toMatchObject({
      code: 'MODEL_DOES_NOT_FIT',
      details: { needed_bytes: expect.any(Number), available_bytes: 88 * 1024 ** 2, max_context_size: null },
    });
    expect(await bench.deployments.fit({ modelId }, never)).toMatchObject({ verdict: 'does_not_fit', contextSize: 2048 });
    const { id } = await start({ modelId, override: ['fit'], config: { threads: 1, gpuLayers: 0, contextSize: 64 } }, admin);
    await bench.reaches(id, 'running');
  });

  it('are in use while a deployment is not stopped', async () => {
    await bench.close();
    const model = installed();
    await open({ installed: [model] });
    const { id } = await start({ modelId, config: { threads: 1, gpuLayers: 0, contextSize: 64 } });
    expect(await bench.deployments.usesInstalledModel(model.id)).toBe(true);
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
    expect(await bench.deployments.usesInstalledModel(model.id)).toBe(false);
  });
});

describe('lists', () => {
  it('page by key, filtered, newest first, and by model in one go', async () => {
    const mark = `list-${newId().slice(-8)}`;
    for (let number = 1; number <= 3; number += 1) await small({ name: `${mark}-${number}` });
    const first = await bench.deployments.list({}, { limit: 2 });
    expect(first.items.map((view) => view.name)).toEqual([`${mark}-3`, `${mark}-2`]);
    await small({ name: `${mark}-4` });
    const second = await bench.deployments.list({}, { limit: 2, cursor: first.nextCursor ?? '' });
    expect(second.items[0]?.name).toBe(`${mark}-1`);
    await eventually('all run', async () => (await bench.deployments.list({ status: 'running' }, { limit: 100 })).items.filter((view) => view.name.startsWith(mark)).length === 4);
    expect((await bench.deployments.findMany([second.items[0]!.id, 'no id'])).map((view) => view.name)).toEqual([`${mark}-1`]);
    const ofModel = await bench.deployments.listByModels([modelId], 2);
    expect(ofModel.map((view) => view.modelId)).toEqual([modelId, modelId]);
    await expect(bench.deployments.list({}, { limit: 0 })).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });
});

describe('a remote server', () => {
  const secret = 'sk-very-secret-of-the-other-server';
  let server: OpenAiServer;
  beforeEach(async () => {
    server = await startOpenAiServer({ apiKey: secret, path: '/gateway' });
  });
  afterEach(async () => {
    await server.close();
  });

  it('is used with its first model and the key that no view, log or event shows', async () => {
    const changes = bench.events.subscribe('deployment.changed', { delivery: 'all' }, never);
    const { id, name } = await start({ runtime: 'remote', config: { baseUrl: `${server.url}/v1/` }, apiKey: secret, idempotencyKey: 'remote-1' }, admin);
    const running = await bench.reaches(id, 'running');
    expect(name).toBe('remote');
    expect(running).toMatchObject({ endpoint: server.url, modelId: null });
    const target = await bench.deployments.target(id, never);
    expect(target).toMatchObject({ baseUrl: server.url, model: 'first-model', headers: { authorization: `Bearer ${secret}` }, contextSize: null });
    expect(server.requests).toContainEqual({ path: '/gateway/v1/models', authorization: `Bearer ${secret}` });
    const told = JSON.stringify([running, await bench.deployments.logs(id, { limit: 100 }, never), await bench.deployments.events(id, { limit: 100 }), bench.logger.records, (await changes.next()).value]);
    expect(told).not.toContain(secret);
    await changes.return?.();
    await expect(bench.deployments.update(id, { config: { baseUrl: 'http://127.0.0.1:9' } }, never)).rejects.toMatchObject({ details: { fields: [{ field: 'config.base_url' }] } });
  });

  it('that goes away is tried again until it is back', async () => {
    const { id } = await start({ runtime: 'remote', config: { baseUrl: server.url, health: { intervalSeconds: 10, failures: 1 } }, apiKey: secret }, admin);
    await bench.reaches(id, 'running');
    server.status = 500;
    await bench.clock.passSleepOf(10_000);
    await eventually('it waits for the next try', () => bench.clock.sleeps().includes(10_000));
    expect(await bench.deployments.get(id)).toMatchObject({ status: 'restarting', error: { code: 'START_FAILED' } });
    server.status = 200;
    await bench.clock.passSleepOf(10_000);
    await bench.reaches(id, 'running');
  });

  it('with a key in its address is refused', async () => {
    for (const baseUrl of ['http://user:pass@127.0.0.1:1', 'file:///etc/passwd', 'http://127.0.0.1:1/?key=x', 'not a url']) {
      await expect(start({ runtime: 'remote', config: { baseUrl } }, admin)).rejects.toMatchObject({ details: { fields: [{ field: 'config.base_url' }] } });
    }
  });
});
