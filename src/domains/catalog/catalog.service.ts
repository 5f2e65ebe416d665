import { createHash } from 'node:crypto';
import type { Cache, CacheOptions } from '../../shared/cache.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError, isAppError, toStoredError, validationFailed } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Catalog } from './catalog.ts';
import type { MachineMemory } from './fit.ts';
import { HeaderReader } from './header-reader.ts';
import { mergeStreams } from './merge-streams.ts';
import { toDetail } from './model-detail.ts';
import { parseModelRef } from './model-ref.ts';
import { decodeSearchCursor, encodeSearchCursor } from './search-cursor.ts';
import type { SearchPosition, SourcePosition } from './search-cursor.ts';
import { planSearch } from './search-plan.ts';
import { SourceCalls } from './source-calls.ts';
import { SourceStream } from './source-stream.ts';
import type { PageAnswer } from './source-stream.ts';
import type { ModelSource, SourceModel, SourcePage, SourceSearch } from './source.ts';
import type { ModelCategory, ModelDetail, ModelFile, ModelRef, ModelSort, SearchRequest, SearchResult, SourceInfo } from './types.ts';
import { variantsOf } from './variants.ts';

export type CatalogLimits = {
  /** How long a search waits for one source, and for all pages that it needs of it. */
  searchMs: number;
  /** How long a model's description may take. */
  describeMs: number;
  /** How long a description waits for the header that its memory estimate is made of. */
  headerMs: number;
  searchTtlSeconds: number;
  modelTtlSeconds: number;
  categoriesTtlSeconds: number;
  /** How long what is too old is still answered while a source is down. */
  graceSeconds: number;
  /** How long a caller with an old answer at hand waits for a fresh one. */
  softTimeoutMs: number;
};

export const catalogLimits: CatalogLimits = {
  searchMs: 3000,
  describeMs: 10_000,
  headerMs: 1500,
  searchTtlSeconds: 300,
  modelTtlSeconds: 600,
  categoriesTtlSeconds: 86_400,
  graceSeconds: 86_400,
  softTimeoutMs: 300,
};

export type CatalogOptions = {
  /** By id; built-in ones and plug-ins alike, asked in this order. */
  sources: ReadonlyMap<string, ModelSource>;
  cache: Cache;
  clock: Clock;
  logger: Logger;
  /** What a model may take on this machine now. */
  machineMemory: () => MachineMemory | Promise<MachineMemory>;
  limits?: Partial<CatalogLimits>;
};

export function createCatalog(options: CatalogOptions): Catalog {
  return new CatalogService(options);
}

/** A source answers with so many rows at least: the next pages of a search then come out of the cache. */
const pageSizeMin = 20;

class CatalogService implements Catalog {
  readonly #sources: ReadonlyMap<string, ModelSource>;
  readonly #clock: Clock;
  readonly #cache: Cache;
  readonly #machineMemory: CatalogOptions['machineMemory'];
  readonly #limits: CatalogLimits;
  readonly #calls: SourceCalls;
  readonly #headers: HeaderReader;

  constructor({ sources, cache, clock, logger, machineMemory, limits }: CatalogOptions) {
    this.#sources = sources;
    this.#clock = clock;
    this.#cache = cache;
    this.#machineMemory = machineMemory;
    this.#limits = { ...catalogLimits, ...limits };
    this.#calls = new SourceCalls(cache, logger);
    this.#headers = new HeaderReader(cache, logger);
  }

  async search(given: SearchRequest, signal: AbortSignal): Promise<SearchResult> {
    const { request, asked, unable } = planSearch(this.#sources, given);
    const start = request.cursor === undefined ? null : decodeSearchCursor(request, request.cursor);
    const position = start ?? { pageSize: Math.max(request.limit, pageSizeMin), turn: 0, sources: new Map(asked.map(({ id }) => [id, { cursor: null, taken: 0 }])) };
    const able = await this.#withCategory(asked, request.category, signal);
    const streams = asked.map((source) => this.#openStream({ source, request, position, isAble: able.has(source) }, signal));
    const cursorAt = (turn: number): string => encodeSearchCursor(request, { ...position, turn, sources: openPositions(streams) });
    const { items, cursors, turn } = await mergeStreams(streams, { ...request, turn: position.turn, cursorAt });
    signal.throwIfAborted();
    const failed = unable.map(({ source, message }) => ({ source: source.id, status: 'failed', cached: false, error: { code: 'VALIDATION_FAILED', message } }) as const);
    // A source that failed keeps its place and is asked again with the next page, unless this page had nothing at all:
    // whoever reads to the end must not turn in circles round a source that is down.
    const hasMore = streams.some((stream) => stream.position !== null && !(stream.isFailed && items.length === 0));
    return { items, cursors, nextCursor: hasMore ? cursorAt(turn) : null, total: null, sources: [...streams.map(({ state }) => state), ...failed] };
  }

  async get(modelId: string, signal: AbortSignal): Promise<ModelDetail> {
    const { ref, source } = this.#resolve(modelId);
    const { value } = await this.#describe(ref, source, (shared) => source.describe(ref, shared), signal);
    return this.#detail(ref, source, value, signal);
  }

  async refresh(modelId: string, signal: AbortSignal): Promise<ModelDetail> {
    const { ref, source } = this.#resolve(modelId);
    const limited = AbortSignal.any([signal, AbortSignal.timeout(this.#limits.describeMs)]);
    // Asked before the old answer is dropped: a source that is down must not cost what is known.
    const fresh = await source.describe(ref, limited).catch((error: unknown) => {
      signal.throwIfAborted();
      throw isAppError(error) || !limited.aborted ? error : new AppError('TIMEOUT', `${source.name} did not answer in time.`);
    });
    await this.#cache.delete(modelKey(ref));
    const { value } = await this.#describe(ref, source, () => Promise.resolve(fresh), signal);
    return this.#detail(ref, source, value, signal);
  }

  async categories(signal: AbortSignal): Promise<readonly ModelCategory[]> {
    const merged = new Map<string, { id: string; name: string; sources: string[] }>();
    const lists = await Promise.all([...this.#sources.values()].map(async (source) => ({ source, list: await this.#categoriesOf(source, signal) })));
    for (const { source, list } of lists) {
      for (const { id, name } of list ?? []) {
        const known = merged.get(id);
        if (known) known.sources.push(source.id);
        else merged.set(id, { id, name, sources: [source.id] });
      }
    }
    return [...merged.values()];
  }

  sources(): readonly SourceInfo[] {
    return [...this.#sources.values()].map(({ id, name, endpoint, capabilities }) => {
      const { status, error } = this.#calls.statusOf(id) ?? { status: 'unknown' as const, error: null };
      return { id, name, endpoint, status, error, sorts: Object.keys(capabilities.sorts) as ModelSort[] };
    });
  }

  variantsOf(files: readonly ModelFile[]): ReturnType<Catalog['variantsOf']> {
    return variantsOf(files);
  }

  #resolve(modelId: string): { ref: ModelRef; source: ModelSource } {
    const ref = parseModelRef(modelId);
    const source = this.#sources.get(ref.source);
    if (!source) throw validationFailed([{ field: 'model_id', message: `its source must be one of ${[...this.#sources.keys()].join(', ')}` }]);
    return { ref, source };
  }

  #describe(ref: ModelRef, source: ModelSource, fetch: (signal: AbortSignal) => Promise<SourceModel>, signal: AbortSignal): Promise<{ value: SourceModel }> {
    const { describeMs, modelTtlSeconds } = this.#limits;
    return this.#calls.call({ source, key: modelKey(ref), limitMs: describeMs, cache: this.#cacheFor(modelTtlSeconds), fetch }, signal);
  }

  async #detail(ref: ModelRef, source: ModelSource, model: SourceModel, signal: AbortSignal): Promise<ModelDetail> {
    const request = { source, ref, model, limitMs: this.#limits.headerMs };
    const [headers, memory] = await Promise.all([this.#headers.read(request, signal), this.#machineMemory()]);
    return toDetail(model, headers, memory);
  }

  /** Those of the sources that have the category, or may have it. Throws VALIDATION_FAILED when none of them does. */
  async #withCategory(asked: readonly ModelSource[], category: string | undefined, signal: AbortSignal): Promise<ReadonlySet<ModelSource>> {
    if (category === undefined) return new Set(asked);
    const lists = await Promise.all(asked.map((source) => this.#categoriesOf(source, signal)));
    // A source that cannot tell its categories is asked: it may know this one.
    const able = asked.filter((_, index) => lists[index]?.some(({ id }) => id === category) ?? true);
    if (able.length === 0) throw validationFailed([{ field: 'category', message: 'no asked source has this category' }]);
    return new Set(able);
  }

  /** Null when the source does not tell now. */
  async #categoriesOf(source: ModelSource, signal: AbortSignal): Promise<readonly { id: string; name: string }[] | null> {
    const { searchMs, categoriesTtlSeconds } = this.#limits;
    const key = `catalog:categories:${source.id}`;
    const fetch = (shared: AbortSignal): ReturnType<ModelSource['categories']> => source.categories(shared);
    try {
      return (await this.#calls.call({ source, key, limitMs: searchMs, cache: this.#cacheFor(categoriesTtlSeconds), fetch }, signal)).value;
    } catch (error) {
      if (isAppError(error)) return null;
      throw error;
    }
  }

  #openStream(of: { source: ModelSource; request: SearchRequest; position: SearchPosition; isAble: boolean }, signal: AbortSignal): SourceStream {
    const { source, request, position, isAble } = of;
    const deadlineMs = this.#clock.monotonicMs() + this.#limits.searchMs;
    const read = async (cursor: string | null): Promise<PageAnswer> => this.#readPage({ source, request: toSourceSearch(request, position.pageSize, cursor), deadlineMs }, signal);
    return new SourceStream(source.id, isAble ? (position.sources.get(source.id) ?? null) : null, read);
  }

  async #readPage(of: { source: ModelSource; request: SourceSearch; deadlineMs: number }, signal: AbortSignal): Promise<PageAnswer> {
    const { source, request, deadlineMs } = of;
    const limitMs = Math.max(1, Math.ceil(deadlineMs - this.#clock.monotonicMs()));
    const fetch = (shared: AbortSignal): Promise<SourcePage> => source.search(request, shared);
    try {
      const call = { source, key: searchKey(source, request), limitMs, cache: this.#cacheFor(this.#limits.searchTtlSeconds), fetch };
      const { value: page, cached, stale, error } = await this.#calls.call(call, signal);
      return { kind: 'page', page, cached, stale, error: error && toStoredError(error, 'SOURCE_UNAVAILABLE', '') };
    } catch (error) {
      if (!isAppError(error)) throw error;
      return { kind: 'failed', error: { code: error.code, message: error.message } };
    }
  }

  #cacheFor(ttlSeconds: number): CacheOptions {
    const { graceSeconds, softTimeoutMs } = this.#limits;
    return { ttlSeconds, graceSeconds, softTimeoutMs };
  }
}

function modelKey({ source, name, revision }: ModelRef): string {
  return `catalog:model:${source}:${name}@${revision ?? ''}`;
}

/** A hash, because the words of a search are a stranger's and of any length. */
function searchKey({ id }: ModelSource, request: SourceSearch): string {
  const { query, category, format, sort, order, limit, cursor } = request;
  const text = JSON.stringify([query, category ?? null, format ?? null, sort, order, limit, cursor ?? null]);
  return `catalog:search:${id}:${createHash('sha256').update(text).digest('hex')}`;
}

function toSourceSearch({ query, category, format, sort, order }: SearchRequest, limit: number, cursor: string | null): SourceSearch {
  return {
    query,
    sort,
    order,
    limit,
    ...(category === undefined ? {} : { category }),
    ...(format === undefined ? {} : { format }),
    ...(cursor === null ? {} : { cursor }),
  };
}

/** Where each source goes on; those at their end are not among them. */
function openPositions(streams: readonly SourceStream[]): ReadonlyMap<string, SourcePosition> {
  return new Map(streams.flatMap(({ id, position }): [string, SourcePosition][] => (position ? [[id, position]] : [])));
}
