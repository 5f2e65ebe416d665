import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Catalog } from '../../../src/domains/catalog/catalog.ts';
import { createCatalog } from '../../../src/domains/catalog/catalog.service.ts';
import type { CatalogOptions } from '../../../src/domains/catalog/catalog.service.ts';
import type { ModelSource } from '../../../src/domains/catalog/source.ts';
import { createHuggingFaceSource } from '../../../src/domains/catalog/sources/huggingface/huggingface.source.ts';
import { createCache } from '../../../src/infrastructure/cache/bento-cache.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { isAppError } from '../../../src/shared/errors.ts';
import { openHttp, openHub, openOllama, tinyGguf } from '../../support/catalog/fixtures.ts';
import type { OpenHub, OpenOllama } from '../../support/catalog/fixtures.ts';
import { eventually } from '../../support/eventually.ts';
import { refused, unavailable } from '../../support/hub/faults.ts';
import { safetensorsOf } from '../../support/safetensors.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const live = (): AbortSignal => new AbortController().signal;
const roomy = { availableBytes: 64 * 1024 ** 3, gpuFreeBytes: null };
const token = 'hf_secret';

describe('one model', () => {
  let hub: OpenHub;
  let ollama: OpenOllama;
  let closers: (() => Promise<void>)[];

  beforeEach(async () => {
    closers = [];
    [hub, ollama] = await Promise.all([openHub({ tokens: { [token]: { name: 'me', repos: ['acme/gated', 'acme/private'] } } }), openOllama()]);
  });
  afterEach(async () => {
    await Promise.all([hub.close(), ollama.close(), ...closers.map((close) => close())]);
  });

  function open(over: Partial<CatalogOptions> = {}, first: ModelSource = hub.source): Catalog {
    const cache = createCache(systemClock);
    closers.push(() => cache.close());
    const sources = new Map([first, ollama.source].map((source) => [source.id, source]));
    return createCatalog({ sources, cache, clock: systemClock, logger: silentLogger, machineMemory: () => roomy, ...over });
  }

  function withToken(given: string): ModelSource {
    const client = openHttp();
    closers.push(() => client.close());
    return createHuggingFaceSource({ http: client.request, clock: systemClock, logger: silentLogger, endpoint: hub.hub.endpoint, token: given });
  }

  it('tells of a Hub model what the Hub, its card and its header say', async () => {
    const model = await open().get('acme/tiny-GGUF', live());
    expect(model).toMatchObject({
      id: 'huggingface:acme/tiny-GGUF',
      source: 'huggingface',
      author: 'acme',
      description: 'A very small model that says one sentence, made so that tests need no download. It is not clever.',
      license: 'apache-2.0',
      category: 'text-generation',
      formats: ['gguf'],
      quantizations: ['Q4_K_M', 'Q8_0'],
      contextLength: 2048,
      architecture: 'llama',
      gated: false,
      securityStatus: 'safe',
      url: `${hub.hub.endpoint}/acme/tiny-GGUF`,
      revision: expect.stringMatching(/^[0-9a-f]{40}$/),
    });
    expect(model.parameters).toBeGreaterThan(1000);
    expect(model.readmeMarkdown?.startsWith('# Tiny')).toBe(true);
    expect(model.readmeText).toContain('llm-manager run tiny');
    expect(model.files.map(({ path }) => path).toSorted()).toEqual(['README.md', 'config.json', 'tiny.Q4_K_M.gguf', 'tiny.Q8_0.gguf']);
    expect(model.files.find(({ path }) => path === 'README.md')).toMatchObject({ sha256: null, gitSha1: expect.stringMatching(/^[0-9a-f]{40}$/) });
  });

  it('estimates each variant with the figures of the header and recommends the one by common practice', async () => {
    const { variants } = await open().get('acme/tiny-GGUF', live());
    expect(variants.map(({ name, recommended }) => [name, recommended])).toEqual([['Q4_K_M', true], ['Q8_0', false]]);
    const [small, large] = variants;
    expect(small?.fit).toMatchObject({ verdict: 'fits', contextSize: 2048, weightsBytes: tinyGguf.length, maxContextSize: 2048 });
    expect(small?.fit?.kvCacheBytes).toBeGreaterThan(0);
    expect(large?.fit?.kvCacheBytes).toBe(small?.fit?.kvCacheBytes);
    expect((large?.fit?.neededBytes ?? 0) - (small?.fit?.neededBytes ?? 0)).toBe(1000);
  });

  it('estimates a safetensors model from its config and from a few ranges of its first part, whatever the parts weigh', async () => {
    const part = safetensorsOf({ a: { dtype: 'F32', shape: [1000, 1000] }, b: { dtype: 'BF16', shape: [1000] } });
    const config = { model_type: 'llama', num_hidden_layers: 4, num_attention_heads: 8, num_key_value_heads: 2, hidden_size: 256, vocab_size: 1000, max_position_embeddings: 2048, torch_dtype: 'float32' };
    const parts = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'];
    hub.hub.addRepo({ id: 'acme/whole', files: [...parts.map((path) => ({ path, content: part })), { path: 'config.json', content: JSON.stringify(config) }] });
    const { variants, contextLength, architecture } = await open().get('acme/whole', live());
    expect([contextLength, architecture]).toEqual([2048, 'llama']);
    const [{ fit, sizeBytes } = { fit: null, sizeBytes: 0 }] = variants;
    expect(sizeBytes).toBe(2 * part.length);
    // Servers load wide floats as halves; 4 layers x 2 heads x 32 x 2 x 2 bytes a token, two answers at once.
    expect(fit).toMatchObject({ verdict: 'fits', contextSize: 2048, kvCacheBytes: 2 * 2048 * 1024, maxContextSize: 2048 });
    expect((fit?.weightsBytes ?? 0) / part.length).toBeCloseTo(1, 2);
    const bytes = hub.hub.requests.matching(/cdn|model-00001/).reduce((sum, { bytesSent }) => sum + bytesSent, 0);
    expect(bytes).toBeLessThan(part.length / 10);
    expect(hub.hub.requests.matching(/model-00002/)).toEqual([]);
  });

  it('says that a model does not fit, and recommends the smallest', async () => {
    const { variants } = await open({ machineMemory: () => Promise.resolve({ availableBytes: 513 * 1024 ** 2, gpuFreeBytes: null }) }).get('acme/tiny-GGUF', live());
    expect(variants.map(({ fit }) => fit?.verdict)).toEqual(['does_not_fit', 'does_not_fit']);
    expect(variants.find(({ recommended }) => recommended)?.name).toBe('Q4_K_M');
    expect(variants[0]?.fit?.reason).toMatch(/^It needs about 0\.\d\d GiB of the 0\.00 GiB that are free/);
  });

  it('answers without the header when it cannot be read in time, with the weights alone', async () => {
    hub.hub.faults.inject({ server: 'cdn', fault: { kind: 'slow_start', until: new Promise(() => {}) } });
    const { variants } = await open({ limits: { headerMs: 50 } }).get('acme/tiny-GGUF', live());
    expect(variants[0]?.fit).toMatchObject({ verdict: 'fits', kvCacheBytes: null, maxContextSize: null, weightsBytes: tinyGguf.length });
    expect(variants[0]?.recommended).toBe(true);
  });

  it('tells of an Ollama model what manifest, configuration, header and page say', async () => {
    const model = await open().get('tiny', live());
    expect(model).toMatchObject({
      id: 'ollama:tiny',
      description: 'Says one sentence.',
      license: 'Apache License',
      downloads: 107_300_000,
      parameters: 135_000_000,
      quantizations: ['Q4_1'],
      contextLength: 2048,
      architecture: 'llama',
      updatedAt: '2026-07-01T00:00:00.000Z',
      tags: expect.arrayContaining(['tools', 'latest', '135m-q8_0']),
    });
    expect(model.files.map(({ path }) => path)).toEqual(['tiny-latest.gguf', 'template.txt', 'params.json', 'LICENSE.txt']);
    expect(model.variants).toMatchObject([{ name: 'latest', quantization: 'Q4_1', files: ['tiny-latest.gguf'], sizeBytes: tinyGguf.length, recommended: true, fit: { verdict: 'fits' } }]);
  });

  it('needs no library page to describe an Ollama model', async () => {
    ollama.library.faults.inject({ fault: unavailable() });
    expect(await open().get('ollama:tiny', live())).toMatchObject({ id: 'ollama:tiny', description: null, quantizations: ['Q4_1'] });
  });

  it('names why a model of single tensors cannot be fetched, instead of offering its parts', async () => {
    ollama.registry.addModel({ name: 'mlx', layers: [{ kind: 'tensor', content: 'a', name: 'w1' }, { kind: 'json', content: '{}', name: 'config.json' }] });
    const model = await open().get('ollama:mlx', live());
    expect(model).toMatchObject({ files: [], variants: [], formats: ['mlx'], description: expect.stringContaining('only Ollama itself') });
  });

  it('keeps an Ollama tag in the id, because it is another model', async () => {
    ollama.registry.addModel({ name: 'tiny', tag: '135m-q8_0', layers: [{ kind: 'model', content: tinyGguf }] });
    const model = await open().get('tiny:135m-q8_0', live());
    expect(model).toMatchObject({ id: 'ollama:tiny:135m-q8_0', displayName: 'tiny:135m-q8_0' });
    expect(model.variants[0]).toMatchObject({ name: '135m-q8_0', files: ['tiny-135m-q8_0.gguf'] });
  });

  it('describes a safetensors repository as one variant, with the context length of its config', async () => {
    hub.hub.addRepo({
      id: 'acme/full',
      files: [
        { path: 'model-00001-of-00002.safetensors', content: 'a'.repeat(100) },
        { path: 'model-00002-of-00002.safetensors', content: 'b'.repeat(50) },
        { path: 'consolidated.safetensors', content: 'c'.repeat(150) },
        { path: 'config.json', content: '{"model_type":"qwen3","max_position_embeddings":32768}' },
      ],
      safetensors: { parameters: { BF16: 75 }, total: 75 },
    });
    const model = await open().get('acme/full', live());
    expect(model).toMatchObject({ contextLength: 32_768, architecture: 'qwen3', parameters: 75, readmeMarkdown: null });
    expect(model.variants).toMatchObject([{ name: 'safetensors', sizeBytes: 150, recommended: true }]);
  });

  it('reads a listing of many pages whole', async () => {
    await hub.close();
    hub = await openHub({ treePageSize: 2 });
    expect((await open().get('acme/tiny-GGUF', live())).files).toHaveLength(4);
  });

  it('follows a renamed repository and answers under its present id', async () => {
    hub.hub.addRepo({ id: 'acme/new', formerIds: ['acme/old'], files: [{ path: 'a.Q4_0.gguf', content: 'x' }] });
    expect(await open().get('acme/old', live())).toMatchObject({ id: 'huggingface:acme/new' });
  });

  it('passes on no file name that could leave a folder', async () => {
    const hostile = ['../../x', '/etc/x', 'a\0b', 'CON', 'sub/../../y', 'a\\b', 'C:/x', 'x'.repeat(5000), 'sub/aux.txt', 'a//b', 'end.', ' ', '\u202Egpj.exe'];
    hub.hub.addRepo({ id: 'acme/hostile', files: [...hostile, 'good.Q4_0.gguf'].map((path) => ({ path, content: 'x' })) });
    const model = await open().get('acme/hostile', live());
    expect(model.files.map(({ path }) => path).filter((path) => path !== ' ')).toEqual(['good.Q4_0.gguf']);
    expect(model.files).toHaveLength(1);
  });

  it('shows what the Hub warns of, by file and for the whole', async () => {
    hub.hub.addRepo({ id: 'acme/risky', files: [{ path: 'pytorch_model.bin', content: 'x', security: 'unsafe' }, { path: 'model.safetensors', content: 'y' }] });
    const model = await open().get('acme/risky', live());
    expect(model.securityStatus).toBe('unsafe');
    expect(model.files.find(({ path }) => path === 'pytorch_model.bin')?.securityStatus).toBe('unsafe');
    expect(model.variants.find(({ recommended }) => recommended)?.name).toBe('safetensors');
  });

  it('describes a gated model, but says how to get access when its bytes are asked for', async () => {
    hub.hub.addRepo({ id: 'acme/gated', gated: 'manual', files: [{ path: 'a.Q4_0.gguf', content: 'x' }, { path: 'README.md', content: 'secret' }] });
    const model = await open().get('acme/gated', live());
    expect(model).toMatchObject({ gated: true, readmeMarkdown: null });
    const file = { ref: { source: 'huggingface', name: 'acme/gated', revision: null }, revision: model.revision, path: 'a.Q4_0.gguf', sha256: null };
    await expect(hub.source.locate(file, live())).rejects.toMatchObject({ code: 'MODEL_GATED', message: expect.stringContaining(`${hub.hub.endpoint}/acme/gated`) });
    const located = await withToken(token).locate(file, live());
    expect(located).toMatchObject({ headers: {}, revision: model.revision, sizeBytes: 1 });
  });

  it('says that a missing model may be private, and finds it with a token', async () => {
    hub.hub.addRepo({ id: 'acme/private', private: true, files: [{ path: 'a.Q4_0.gguf', content: 'x' }] });
    await expect(open().get('acme/private', live())).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND', message: expect.stringContaining('private and needs a token') });
    expect(await open({}, withToken(token)).get('acme/private', live())).toMatchObject({ id: 'huggingface:acme/private' });
  });

  it.each([
    ['a repository that was taken down', { disabled: true }, 'MODEL_NOT_FOUND', 'taken down'],
    ['a revision that is not there', {}, 'MODEL_NOT_FOUND', 'no revision v9'],
  ] as const)('tells %s apart', async (_what, over, code, words) => {
    hub.hub.addRepo({ id: 'acme/odd', files: [{ path: 'a.Q4_0.gguf', content: 'x' }], ...over });
    await expect(open().get('huggingface:acme/odd@v9', live())).rejects.toMatchObject({ code, message: expect.stringContaining(words) });
  });

  it('refuses ids that are none, and sources that are not there', async () => {
    await expect(open().get('../x', live())).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
    await expect(open().get('elsewhere:a/b', live())).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  it('serves what it knows while the Hub is down', async () => {
    const catalog = open({ limits: { modelTtlSeconds: 0.02, softTimeoutMs: 5000 } });
    const before = await catalog.get('acme/tiny-GGUF', live());
    const down = hub.hub.faults.inject({ server: 'hub', fault: unavailable() });
    await eventually('the Hub is asked again', async () => {
      expect(await catalog.get('acme/tiny-GGUF', live())).toEqual(before);
      return down.hits > 0;
    });
  });

  it('does not serve what the Hub says is gone', async () => {
    const catalog = open({ limits: { modelTtlSeconds: 0.02, softTimeoutMs: 5000 } });
    await catalog.get('acme/tiny-GGUF', live());
    hub.hub.removeRepo('acme/tiny-GGUF');
    const isGone = (error: unknown): boolean => isAppError(error, 'MODEL_NOT_FOUND');
    await eventually('the model is gone', () => catalog.get('acme/tiny-GGUF', live()).then(() => false, isGone));
    await expect(catalog.get('acme/tiny-GGUF', live())).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });

  it('goes past the cache on refresh, and keeps what it knows when that fails', async () => {
    const catalog = open();
    const before = await catalog.get('acme/tiny-GGUF', live());
    hub.hub.addRepo({ id: 'acme/tiny-GGUF', files: [{ path: 'other.Q4_0.gguf', content: 'x' }] });
    expect((await catalog.get('acme/tiny-GGUF', live())).revision).toBe(before.revision);
    const after = await catalog.refresh('acme/tiny-GGUF', live());
    expect(after.revision).not.toBe(before.revision);
    const down = hub.hub.faults.inject({ server: 'hub', fault: unavailable() });
    await expect(catalog.refresh('acme/tiny-GGUF', live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    expect((await catalog.get('acme/tiny-GGUF', live())).revision).toBe(after.revision);
    down.remove();
  });

  it('does not hold a missing model against it: it is there as soon as the Hub has it', async () => {
    const catalog = open();
    await expect(catalog.get('acme/late', live())).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
    hub.hub.addRepo({ id: 'acme/late', files: [{ path: 'a.Q4_0.gguf', content: 'x' }] });
    expect(await catalog.get('acme/late', live())).toMatchObject({ id: 'huggingface:acme/late' });
  });

  it('gives up on a silent source at the limit', async () => {
    hub.hub.faults.inject({ server: 'hub', fault: { kind: 'slow_start', until: new Promise(() => {}) } });
    await expect(open({ limits: { describeMs: 50 } }).get('acme/tiny-GGUF', live())).rejects.toMatchObject({ code: 'TIMEOUT' });
  });

  it('reads an expired address anew', async () => {
    const { revision } = await hub.source.describe({ source: 'huggingface', name: 'acme/tiny-GGUF', revision: null }, live());
    const file = { ref: { source: 'huggingface', name: 'acme/tiny-GGUF', revision: null }, revision, path: 'tiny.Q4_K_M.gguf', sha256: null };
    await hub.source.readRange(file, 0, 4, live());
    hub.hub.expireUrls();
    expect(Buffer.from(await hub.source.readRange(file, 0, 4, live())).toString()).toBe('GGUF');
  });

  it('sends the token to the Hub and to no other host', async () => {
    await open({}, withToken(token)).get('acme/tiny-GGUF', live());
    const { entries } = hub.hub.requests;
    expect(entries.some(({ server }) => server === 'cdn')).toBe(true);
    for (const { server, authorization } of entries) expect(authorization).toBe(server === 'hub' ? `Bearer ${token}` : null);
  });

  it('calls a token that the Hub refuses by its name', async () => {
    hub.hub.faults.inject({ fault: refused(401, '', 'Invalid credentials in Authorization header') });
    await expect(withToken('hf_wrong').search({ query: '', sort: 'relevance', order: 'desc', limit: 5 }, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE', message: expect.stringContaining('HF_TOKEN') });
  });

  it('passes on neither headers nor texts of a refusal into what callers see', async () => {
    hub.hub.faults.inject({ server: 'hub', fault: refused(403, 'Odd', 'internal words') });
    await expect(open().get('acme/tiny-GGUF', live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE', message: expect.not.stringContaining('internal words') });
  });
});
