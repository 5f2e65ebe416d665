import { createHash } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { isSafeFilePath } from '../../src/domains/catalog/file-path.ts';
import { modelIdOf, parseModelRef } from '../../src/domains/catalog/model-ref.ts';
import type { ModelSource, SourceModel, SourceSearch } from '../../src/domains/catalog/source.ts';
import type { ModelFile, ModelRef, ModelSort, ModelSummary, SortOrder } from '../../src/domains/catalog/types.ts';
import { modelFormats } from '../../src/domains/catalog/types.ts';
import type { OutgoingHttp } from '../../src/shared/outgoing-http.ts';

/** What a source's own test prepares: a server that holds at least five models and can be spoiled. */
export type ModelSourceFixture = {
  source: ModelSource;
  http: OutgoingHttp;
  /** A public model of which at least one file is weights. */
  model: ModelRef;
  /** Bytes of one of its files. */
  file: { path: string; bytes: Uint8Array };
  missing: ModelRef;
  /** Part of the name of exactly one model. */
  oneHit: { query: string; id: string };
  /** Finds nothing. */
  noHit: string;
  /** From now on the server answers everything like this, until the returned function is called. */
  spoil: (how: 'rate_limited' | 'unavailable' | 'gone' | 'silent') => () => void;
};

const live = (): AbortSignal => new AbortController().signal;
const searchOf = (over: Partial<SourceSearch> = {}): SourceSearch => ({ query: '', sort: 'relevance', order: 'desc', limit: 50, ...over });

async function readAll(source: ModelSource, search: SourceSearch): Promise<ModelSummary[]> {
  const items: ModelSummary[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < 100; page += 1) {
    const answer = await source.search({ ...search, ...(cursor === undefined ? {} : { cursor }) }, live());
    expect(answer.items.length).toBeLessThanOrEqual(search.limit);
    items.push(...answer.items);
    if (answer.nextCursor === null) return items;
    cursor = answer.nextCursor;
  }
  throw new Error('the pages have no end');
}

function fileOf(model: SourceModel, path: string): ModelFile {
  const file = model.files.find((candidate) => candidate.path === path);
  if (!file) throw new Error(`no file ${path} among ${model.files.map((candidate) => candidate.path).join(', ')}`);
  return file;
}

function expectSummary(summary: ModelSummary, source: ModelSource): void {
  expect(modelIdOf(parseModelRef(summary.id))).toBe(summary.id);
  expect(summary.source).toBe(source.id);
  expect(summary.id.startsWith(`${source.id}:`)).toBe(true);
  expect(summary.formats.every((format) => modelFormats.includes(format))).toBe(true);
  for (const time of [summary.createdAt, summary.updatedAt]) if (time !== null) expect(new Date(time).toISOString()).toBe(time);
  for (const count of [summary.parameters, summary.sizeBytes, summary.contextLength, summary.downloads, summary.likes]) {
    if (count !== null) expect(Number.isSafeInteger(count) && count >= 0).toBe(true);
  }
  // What a cache or another process gets must be what the source gave.
  expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);
}

/** The suite that every `ModelSource` passes, built in or not. `open` is called once for each case; `close` after it. */
export function describeModelSource(name: string, open: () => Promise<ModelSourceFixture & { close: () => Promise<void> }>): void {
  const withFixture = (run: (fixture: ModelSourceFixture) => Promise<void>) => async () => {
    const fixture = await open();
    try {
      await run(fixture);
    } finally {
      await fixture.close();
    }
  };

  describe(`ModelSource ${name}`, () => {
    describeSearch(withFixture);
    describeModels(withFixture);
    describeFailures(withFixture);
  });
}

type WithFixture = (run: (fixture: ModelSourceFixture) => Promise<void>) => () => Promise<void>;

function describeSearch(withFixture: WithFixture): void {
  it('answers a search with summaries under canonical ids', withFixture(async ({ source }) => {
    const { items } = await source.search(searchOf(), live());
    expect(items.length).toBeGreaterThanOrEqual(5);
    for (const item of items) expectSummary(item, source);
  }));

  it('finds a model by a part of its name', withFixture(async ({ source, oneHit }) => {
    expect((await readAll(source, searchOf({ query: oneHit.query }))).map(({ id }) => id)).toEqual([oneHit.id]);
  }));

  it('answers a search without hits with an empty page', withFixture(async ({ source, noHit }) => {
    expect(await readAll(source, searchOf({ query: noHit }))).toEqual([]);
  }));

  it('gives every model once, whatever the size of the page', withFixture(async ({ source }) => {
    for (const [sort, orders] of Object.entries(source.capabilities.sorts) as [ModelSort, readonly SortOrder[]][]) {
      for (const order of orders) {
        const whole = (await readAll(source, searchOf({ sort, order }))).map(({ id }) => id);
        const byTwo = (await readAll(source, searchOf({ sort, order, limit: 2 }))).map(({ id }) => id);
        expect(byTwo).toEqual(whole);
        expect(new Set(whole).size).toBe(whole.length);
      }
    }
  }));

  it('puts the whole result in each order that it claims', withFixture(async ({ source }) => {
    const figures: Partial<Record<ModelSort, (model: ModelSummary) => number | string | null>> = {
      downloads: ({ downloads }) => downloads,
      likes: ({ likes }) => likes,
      updated: ({ updatedAt }) => updatedAt,
      created: ({ createdAt }) => createdAt,
      name: ({ name: modelName }) => modelName,
    };
    for (const [sort, orders] of Object.entries(source.capabilities.sorts) as [ModelSort, readonly SortOrder[]][]) {
      const figure = figures[sort];
      for (const order of figure ? orders : []) {
        const values = (await readAll(source, searchOf({ sort, order, limit: 2 }))).map((item) => figure?.(item) ?? null);
        const ascending = values.toSorted((a, b) => ((a ?? 0) < (b ?? 0) ? -1 : (a ?? 0) > (b ?? 0) ? 1 : 0));
        expect(values).toEqual(order === 'asc' ? ascending : ascending.reverse());
        expect(new Set(values).size).toBeGreaterThan(1);
      }
    }
  }));

  it('filters by each of its categories and formats without failing', withFixture(async ({ source }) => {
    const categories = await source.categories(live());
    expect(categories.length).toBeGreaterThan(0);
    expect(new Set(categories.map(({ id }) => id)).size).toBe(categories.length);
    const [first] = (await source.search(searchOf(), live())).items.filter(({ category }) => category !== null);
    expect(categories.map(({ id }) => id)).toContain(first?.category);
    const found = await readAll(source, searchOf({ category: first?.category ?? '' }));
    expect(found.map(({ id }) => id)).toContain(first?.id);
    for (const format of source.capabilities.formats) {
      for (const item of await readAll(source, searchOf({ format }))) expect(item.formats).toContain(format);
    }
  }));
}

function describeModels(withFixture: WithFixture): void {
  it('describes a model with its files, pinned', withFixture(async ({ source, model, file }) => {
    const described = await source.describe(model, live());
    expectSummary(described.summary, source);
    expect(described.summary.id).toBe(modelIdOf(model));
    expect(described.revision).toMatch(/^[0-9a-f]{40}$|^[0-9a-f]{64}$/);
    expect(described.files.every(({ path, sizeBytes }) => isSafeFilePath(path) && Number.isSafeInteger(sizeBytes) && sizeBytes >= 0)).toBe(true);
    expect(new Set(described.files.map(({ path }) => path)).size).toBe(described.files.length);
    const { sizeBytes, sha256 } = fileOf(described, file.path);
    expect(sizeBytes).toBe(file.bytes.length);
    expect(sha256).toBe(`sha256:${createHash('sha256').update(file.bytes).digest('hex')}`);
    const paths = new Set(described.files.map(({ path }) => path));
    for (const variant of described.variants ?? []) expect(variant.files.every((path) => paths.has(path))).toBe(true);
    expect(JSON.parse(JSON.stringify(described))).toEqual(described);
  }));

  it('locates bytes where a plain request with the given headers finds them', withFixture(async ({ source, http, model, file }) => {
    const described = await source.describe(model, live());
    const { sha256 } = fileOf(described, file.path);
    const location = await source.locate({ ref: model, revision: described.revision, path: file.path, sha256 }, live());
    const { url, headers, allowPrivate } = location;
    const response = await http({ method: 'GET', url, headers: { ...headers, 'accept-encoding': 'identity' }, maxBytes: file.bytes.length, allowPrivate }, live());
    expect(response.status).toBe(200);
    expect(Buffer.from(response.body).equals(file.bytes)).toBe(true);
    if (new URL(url).origin !== new URL(source.endpoint).origin) expect(Object.keys(headers).map((header) => header.toLowerCase())).not.toContain('authorization');
    if (location.sizeBytes !== null) expect(location.sizeBytes).toBe(file.bytes.length);
    if (location.expiresAtMs !== null) expect(location.expiresAtMs).toBeGreaterThan(Date.now());
  }));

  it('reads any part of a file, and nothing past its end', withFixture(async ({ source, model, file }) => {
    const described = await source.describe(model, live());
    const request = { ref: model, revision: described.revision, path: file.path, sha256: fileOf(described, file.path).sha256 };
    const end = file.bytes.length;
    for (const [offset, length] of [[0, 4], [3, 100], [end - 5, 100], [end + 10, 5], [7, 0]] as const) {
      const bytes = await source.readRange(request, offset, length, live());
      expect(Buffer.from(bytes).equals(file.bytes.subarray(offset, offset + length))).toBe(true);
    }
  }));
}

function describeFailures(withFixture: WithFixture): void {
  it('says of a missing model that it is not there', withFixture(async ({ source, missing }) => {
    await expect(source.describe(missing, live())).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND', message: expect.stringContaining(missing.name) });
  }));

  it('says of a missing file that it is not there', withFixture(async ({ source, model }) => {
    const { revision } = await source.describe(model, live());
    const file = { ref: model, revision, path: 'no-such-file.gguf', sha256: `sha256:${'0'.repeat(64)}` };
    await expect(source.locate(file, live())).rejects.toMatchObject({ code: 'FILE_NOT_FOUND' });
  }));

  it('passes on how long to wait when it is limited', withFixture(async ({ source, model, spoil }) => {
    const restore = spoil('rate_limited');
    const limited = { code: 'RATE_LIMITED', retryAfterSeconds: expect.any(Number) };
    await expect(source.search(searchOf(), live())).rejects.toMatchObject(limited);
    await expect(source.describe(model, live())).rejects.toMatchObject(limited);
    restore();
    await expect(source.describe(model, live())).resolves.toBeDefined();
  }));

  it.each(['unavailable', 'gone'] as const)('says that it is unavailable when the server is (%s)', (how) => withFixture(async ({ source, model, spoil }) => {
    const described = await source.describe(model, live());
    const [first] = described.files;
    spoil(how);
    const file = { ref: model, revision: described.revision, path: first?.path ?? '', sha256: first?.sha256 ?? null };
    await expect(source.search(searchOf(), live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    await expect(source.describe(model, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    await expect(source.locate(file, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
  })());

  it('ends with the reason of the signal while the server is silent', withFixture(async ({ source, model, spoil }) => {
    spoil('silent');
    const reason = new Error('the caller has left');
    const caller = new AbortController();
    const calls = [source.search(searchOf(), caller.signal), source.describe(model, caller.signal)];
    caller.abort(reason);
    for (const call of calls) await expect(call).rejects.toBe(reason);
  }));
}
