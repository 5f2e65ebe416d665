import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Catalog } from '../../../src/domains/catalog/catalog.ts';
import { createCatalog } from '../../../src/domains/catalog/catalog.service.ts';
import type { CatalogLimits } from '../../../src/domains/catalog/catalog.service.ts';
import type { SearchRequest, SearchResult } from '../../../src/domains/catalog/types.ts';
import { createCache } from '../../../src/infrastructure/cache/bento-cache.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { openHub, openOllama } from '../../support/catalog/fixtures.ts';
import type { OpenHub, OpenOllama } from '../../support/catalog/fixtures.ts';
import { eventually } from '../../support/eventually.ts';
import { rateLimited, unavailable } from '../../support/hub/faults.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const live = (): AbortSignal => new AbortController().signal;
const searchOf = (over: Partial<SearchRequest> = {}): SearchRequest => ({ query: '', sort: 'relevance', order: 'desc', limit: 20, ...over });
const silence = { kind: 'slow_start', until: new Promise(() => {}) } as const;
const roomy = { availableBytes: 64 * 1024 ** 3, gpuFreeBytes: null };

describe('search over all sources', () => {
  let hub: OpenHub;
  let ollama: OpenOllama;
  let caches: ReturnType<typeof createCache>[];

  beforeEach(async () => {
    caches = [];
    [hub, ollama] = await Promise.all([openHub(), openOllama()]);
  });
  afterEach(async () => {
    await Promise.all([hub.close(), ollama.close(), ...caches.map((cache) => cache.close())]);
  });

  function open(limits: Partial<CatalogLimits> = {}): Catalog {
    const cache = createCache(systemClock);
    caches.push(cache);
    const sources = new Map([hub.source, ollama.source].map((source) => [source.id, source]));
    return createCatalog({ sources, cache, clock: systemClock, logger: silentLogger, machineMemory: () => roomy, limits });
  }

  const stateOf = ({ sources }: SearchResult, id: string): SearchResult['sources'][number] | undefined => sources.find(({ source }) => source === id);
  const idsOf = ({ items }: SearchResult): string[] => items.map(({ id }) => id);

  async function readAll(catalog: Catalog, request: SearchRequest): Promise<SearchResult[]> {
    const pages: SearchResult[] = [];
    let cursor: string | null | undefined;
    while (cursor !== null && pages.length < 50) {
      const page = await catalog.search({ ...request, ...(cursor === undefined ? {} : { cursor }) }, live());
      pages.push(page);
      cursor = page.nextCursor;
    }
    return pages;
  }

  it('takes turns between the sources when there is nothing to compare by', async () => {
    const { items, nextCursor, sources } = await open().search(searchOf({ limit: 4 }), live());
    expect(items.map(({ source }) => source)).toEqual(['huggingface', 'ollama', 'huggingface', 'ollama']);
    expect(nextCursor).not.toBeNull();
    expect(sources).toEqual(['huggingface', 'ollama'].map((source) => ({ source, status: 'ok', cached: false, error: null })));
  });

  it.each(['relevance', 'downloads', 'updated'] as const)('goes on after any model of a page by that one\'s cursor, by %s', async (sort) => {
    const catalog = open();
    const whole = await catalog.search(searchOf({ sort, limit: 100 }), live());
    expect([whole.items.length > 4, whole.cursors.length]).toEqual([true, whole.items.length]);
    for (const limit of [4, 100]) {
      const page = await catalog.search(searchOf({ sort, limit }), live());
      for (const [index, cursor] of page.cursors.entries()) {
        const rest = await catalog.search(searchOf({ sort, limit: 100, cursor }), live());
        expect(idsOf(rest)).toEqual(idsOf(whole).slice(index + 1));
      }
    }
  });

  it.each(['relevance', 'downloads', 'updated'] as const)('neither repeats nor skips a model with two rows a page, by %s', async (sort) => {
    const catalog = open();
    const whole = idsOf(await catalog.search(searchOf({ sort, limit: 50 }), live()));
    const pages = await readAll(catalog, searchOf({ sort, limit: 2 }));
    expect(pages.flatMap(idsOf)).toEqual(whole);
    expect(new Set(whole).size).toBe(12);
    expect(whole).toHaveLength(12);
    expect(pages.slice(0, -1).every(({ items }) => items.length === 2)).toBe(true);
  });

  it('pages on when the sources themselves answer two rows at a time', async () => {
    await Promise.all([hub.close(), ollama.close()]);
    [hub, ollama] = await Promise.all([openHub({ searchPageSize: 2 }), openOllama({ pageSize: 2 })]);
    const pages = await readAll(open(), searchOf({ limit: 3 }));
    const ids = pages.flatMap(idsOf);
    expect(ids).toHaveLength(12);
    expect(new Set(ids).size).toBe(12);
  });

  it('merges the sources into one order by what both tell', async () => {
    const { items } = await open().search(searchOf({ sort: 'downloads' }), live());
    const downloads = items.map((item) => item.downloads ?? -1);
    expect(downloads).toEqual(downloads.toSorted((a, b) => b - a));
    expect(new Set(items.slice(-9).map(({ source }) => source)).size).toBe(2);
  });

  it('answers with the other results when a source is down, and says so', async () => {
    hub.hub.faults.inject({ fault: unavailable() });
    const catalog = open();
    const result = await catalog.search(searchOf(), live());
    expect(result.items.length).toBe(6);
    expect(result.items.every(({ source }) => source === 'ollama')).toBe(true);
    expect(stateOf(result, 'huggingface')).toMatchObject({ status: 'failed', cached: false, error: { code: 'SOURCE_UNAVAILABLE' } });
    expect(stateOf(result, 'ollama')).toMatchObject({ status: 'ok', error: null });
    expect(catalog.sources()).toMatchObject([{ id: 'huggingface', status: 'failed', error: { code: 'SOURCE_UNAVAILABLE' } }, { id: 'ollama', status: 'ok' }]);
  });

  it('waits for a slow source no longer than its limit', async () => {
    ollama.library.faults.inject({ fault: silence });
    const result = await open({ searchMs: 100 }).search(searchOf(), live());
    expect(result.items.every(({ source }) => source === 'huggingface')).toBe(true);
    expect(result.items).toHaveLength(6);
    expect(stateOf(result, 'ollama')).toMatchObject({ status: 'failed', error: { code: 'TIMEOUT' } });
  });

  it('goes on where it was in a source that failed between two pages', async () => {
    const first = await open().search(searchOf({ limit: 4 }), live());
    const fault = ollama.library.faults.inject({ fault: unavailable() });
    const without = await open().search(searchOf({ limit: 4, cursor: first.nextCursor ?? '' }), live());
    expect(without.items.map(({ source }) => source)).toEqual(Array.from({ length: 4 }, () => 'huggingface'));
    fault.remove();
    const last = await open().search(searchOf({ limit: 4, cursor: without.nextCursor ?? '' }), live());
    expect(last.nextCursor).toBeNull();
    const ids = [first, without, last].flatMap(idsOf);
    expect(ids).toHaveLength(12);
    expect(new Set(ids).size).toBe(12);
  });

  it('comes to an end for a reader of all pages while a source stays down', async () => {
    hub.hub.faults.inject({ fault: unavailable() });
    const pages = await readAll(open(), searchOf({ limit: 4 }));
    expect(pages.at(-1)?.nextCursor).toBeNull();
    expect(pages.flatMap(idsOf)).toHaveLength(6);
  });

  it('serves the last good answer while a source is down', async () => {
    const catalog = open({ searchTtlSeconds: 0.02, softTimeoutMs: 5000 });
    const fresh = await catalog.search(searchOf({ source: 'huggingface' }), live());
    hub.hub.faults.inject({ fault: unavailable() });
    const stale = await eventually('a stale answer', async () => {
      const result = await catalog.search(searchOf({ source: 'huggingface' }), live());
      return stateOf(result, 'huggingface')?.status === 'stale' ? result : undefined;
    });
    expect(idsOf(stale)).toEqual(idsOf(fresh));
    expect(stateOf(stale, 'huggingface')).toMatchObject({ cached: true });
  });

  it('serves the last good list when the library page no longer shows any model', async () => {
    const catalog = open({ searchTtlSeconds: 0.02, softTimeoutMs: 5000 });
    const fresh = await catalog.search(searchOf({ source: 'ollama' }), live());
    ollama.library.look.cards = false;
    const stale = await eventually('a stale answer', async () => {
      const result = await catalog.search(searchOf({ source: 'ollama' }), live());
      return stateOf(result, 'ollama')?.error?.code === 'SOURCE_UNAVAILABLE' ? result : undefined;
    });
    expect(stateOf(stale, 'ollama')).toMatchObject({ status: 'stale', cached: true });
    expect(idsOf(stale)).toEqual(idsOf(fresh));
  });

  it('reads the library without its markers all the same', async () => {
    const marked = await open().search(searchOf({ source: 'ollama' }), live());
    ollama.library.look.markers = false;
    const bare = await open().search(searchOf({ source: 'ollama' }), live());
    expect(bare.items).toEqual(marked.items);
  });

  it('asks a source once for the same search by many at the same time', async () => {
    const catalog = open();
    await Promise.all(Array.from({ length: 20 }, () => catalog.search(searchOf({ query: 'tiny' }), live())));
    expect(hub.hub.requests.matching(/^\/api\/models\?/).length).toBe(1);
    const again = await catalog.search(searchOf({ query: 'tiny' }), live());
    expect(again.sources.every(({ cached }) => cached)).toBe(true);
    expect(hub.hub.requests.matching(/^\/api\/models\?/).length).toBe(1);
  });

  it('tells of a limited source without failing the other', async () => {
    hub.hub.faults.inject({ fault: rateLimited(30) });
    const result = await open().search(searchOf(), live());
    expect(stateOf(result, 'huggingface')?.error).toMatchObject({ code: 'RATE_LIMITED', message: expect.stringContaining('31 s') });
    expect(result.items).toHaveLength(6);
  });

  it('leaves out a source that cannot sort so, and says why', async () => {
    const result = await open().search(searchOf({ sort: 'likes' }), live());
    expect(result.items.every(({ source }) => source === 'huggingface')).toBe(true);
    expect(stateOf(result, 'ollama')).toMatchObject({ status: 'failed', error: { code: 'VALIDATION_FAILED' } });
  });

  it.each([
    ['sort', { sort: 'likes', source: 'ollama' }],
    ['sort', { sort: 'name', source: 'huggingface' }],
    ['order', { sort: 'likes', order: 'asc' }],
    ['order', { sort: 'downloads', order: 'asc', source: 'huggingface' }],
    ['source', { source: 'elsewhere' }],
    ['category', { category: 'no-such-category' }],
    ['category', { category: 'a b' }],
    ['format', { format: 'onnx', source: 'ollama' }],
    ['format', { format: 'other' }],
    ['query', { query: 'a\0b' }],
    ['query', { query: ' a'.repeat(101) }],
    ['limit', { limit: 101 }],
    ['limit', { limit: 0 }],
    ['cursor', { cursor: 'bm9uc2Vuc2U' }],
    ['cursor', { cursor: 'x'.repeat(4100) }],
  ] as const)('refuses what no asked source can do, by the field %s (%#)', async (field, over) => {
    const refused = { code: 'VALIDATION_FAILED', details: { fields: [expect.objectContaining({ field })] } };
    await expect(open().search(searchOf(over), live())).rejects.toMatchObject(refused);
  });

  it('refuses the cursor of another search', async () => {
    const catalog = open();
    const { nextCursor } = await catalog.search(searchOf({ limit: 2 }), live());
    const other = catalog.search(searchOf({ limit: 2, query: 'tiny', cursor: nextCursor ?? '' }), live());
    await expect(other).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'cursor' }] } });
  });

  it('sorts by name over the whole library in both directions', async () => {
    await ollama.close();
    ollama = await openOllama({ pageSize: 2 });
    const names = async (order: 'asc' | 'desc'): Promise<string[]> => {
      const pages = await readAll(open(), searchOf({ source: 'ollama', sort: 'name', order, limit: 4 }));
      return pages.flatMap(({ items }) => items.map(({ name }) => name));
    };
    const ascending = await names('asc');
    expect(ascending).toEqual(ascending.toSorted());
    expect(ascending).toHaveLength(6);
    expect(await names('desc')).toEqual(ascending.toReversed());
  });

  it('asks only the sources that have a category', async () => {
    const result = await open().search(searchOf({ category: 'tools' }), live());
    expect(result.items.length).toBeGreaterThan(0);
    expect(result.items.every(({ source }) => source === 'ollama')).toBe(true);
    expect(hub.hub.requests.matching(/^\/api\/models\?/)).toEqual([]);
    expect(stateOf(result, 'huggingface')?.status).toBe('ok');
  });

  it('names each category once, with all sources that have it', async () => {
    const categories = await open().categories(live());
    expect(categories.find(({ id }) => id === 'text-generation')?.sources).toEqual(['huggingface', 'ollama']);
    expect(new Set(categories.map(({ id }) => id)).size).toBe(categories.length);
  });

  it('ends with the reason of a caller that leaves', async () => {
    hub.hub.faults.inject({ fault: silence });
    const caller = new AbortController();
    const reason = new Error('gone');
    const catalog = open();
    const waiting = catalog.search(searchOf(), caller.signal);
    await hub.hub.requests.waitFor((log) => log.matching(/^\/api\/models/).length > 0);
    caller.abort(reason);
    await expect(waiting).rejects.toBe(reason);
    await expect(catalog.search(searchOf(), caller.signal)).rejects.toBe(reason);
  });
});
