import { createHash } from 'node:crypto';
import type { Cache } from '../../../../shared/cache.ts';
import type { Clock } from '../../../../shared/clock.ts';
import { AppError, isAppError, validationFailed } from '../../../../shared/errors.ts';
import type { Logger } from '../../../../shared/logger.ts';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import { modelIdOf } from '../../model-ref.ts';
import type { FileLocation, FileRequest, ModelSource, SourceModel, SourcePage, SourceSearch } from '../../source.ts';
import type { ModelRef, ModelSort, ModelSummary, SortOrder } from '../../types.ts';
import { RangeReader } from '../range-reader.ts';
import { createSourceHttp, normalizeEndpoint, unavailable } from '../source-requests.ts';
import { LibraryClient, ollamaName } from './library-client.ts';
import type { LibraryQuery } from './library-client.ts';
import { parseCount } from './library-html.ts';
import type { LibraryCard } from './library-html.ts';
import { categoryOf, layerKind, ollamaCategories, ollamaConfigSchema, toFiles, toSummary } from './ollama-mapping.ts';
import type { OllamaConfig, OllamaFiles } from './ollama-mapping.ts';
import { RegistryClient } from './registry-client.ts';
import type { OllamaManifest } from './registry-client.ts';

const configBytesMax = 256 * 1024;
/** The first line names the licence. */
const licenseBytes = 2048;
const tagsMax = 200;
/** What the pages add to a model is not worth a longer wait. */
const pagesLimitMs = 2000;

export type OllamaOptions = {
  http: OutgoingHttp;
  clock: Clock;
  logger: Logger;
  /** Whole listings are kept here for a few minutes, for orders that the site cannot give. */
  cache: Cache;
  /** Site with the library's pages, e.g. `https://ollama.com`. */
  libraryEndpoint: string;
  /** e.g. `https://registry.ollama.ai`. */
  registryEndpoint: string;
  /** May blobs lie at private addresses; they may anyway when the registry itself is at one. */
  allowPrivate?: boolean;
};

/** The Ollama library (its pages for people, there is no API) and the registry behind it. */
export function createOllamaSource(options: OllamaOptions): ModelSource {
  return new OllamaSource(options);
}

/**
 * The site orders by its own measure and by time. Names and pulls are ordered here: a result is some pages long at
 * most, so it can be read whole. Sizes in bytes stand on no page.
 */
const siteSorts: readonly ModelSort[] = ['relevance', 'updated'];
const wholeSorts = new Map<ModelSort, (a: LibraryCard, b: LibraryCard) => number>([
  ['name', (a, b) => compareText(a.name, b.name)],
  ['downloads', (a, b) => (a.pulls ?? -1) - (b.pulls ?? -1) || compareText(b.name, a.name)],
]);
const both: readonly SortOrder[] = ['asc', 'desc'];

class OllamaSource implements ModelSource {
  readonly id = 'ollama';
  readonly name = ollamaName;
  readonly endpoint: string;
  readonly capabilities: ModelSource['capabilities'] = {
    sorts: { relevance: ['desc'], updated: ['desc'], name: both, downloads: both },
    formats: ['gguf'],
    store: 'models_dir',
  };
  readonly #library: LibraryClient;
  readonly #registry: RegistryClient;
  readonly #ranges: RangeReader;
  readonly #logger: Logger;

  constructor({ http, clock, logger, cache, libraryEndpoint, registryEndpoint, allowPrivate }: OllamaOptions) {
    const nowMs = (): number => clock.now().getTime();
    const sender = createSourceHttp(http, ollamaName);
    this.endpoint = normalizeEndpoint(libraryEndpoint);
    this.#library = new LibraryClient({ http: sender, endpoint: this.endpoint, cache, nowMs });
    this.#registry = new RegistryClient({ http: sender, endpoint: normalizeEndpoint(registryEndpoint), nowMs, allowPrivate: allowPrivate ?? false });
    this.#ranges = new RangeReader({ http: sender, sourceName: ollamaName, nowMs });
    this.#logger = logger;
  }

  async search(request: SourceSearch, signal: AbortSignal): Promise<SourcePage> {
    const category = ollamaCategories.find(({ id }) => id === request.category);
    const isElsewhere = (request.format ?? 'gguf') !== 'gguf' || (request.category !== undefined && !category);
    if (isElsewhere) return { items: [], nextCursor: null, total: 0 };
    const query: LibraryQuery = { text: request.query, capability: category?.capability ?? null, newestFirst: request.sort === 'updated' };
    return siteSorts.includes(request.sort) ? this.#searchPages(request, query, signal) : this.#searchWhole(request, query, signal);
  }

  async describe(ref: ModelRef, signal: AbortSignal): Promise<SourceModel> {
    const [manifest, page] = await Promise.all([this.#registry.manifest(ref, signal), this.#pagesOf(ref.name, signal)]);
    const [config, license] = await Promise.all([this.#config(ref, manifest, signal), this.#license(ref, manifest, signal)]);
    const found = toFiles(manifest, config, ref);
    return {
      summary: { ...this.#summarize(ref, config, page), ...sizesOf(manifest, found, config), license },
      revision: manifest.digest,
      architecture: config.model_family ?? null,
      readmeMarkdown: null,
      files: found.files,
      variants: found.variants,
      securityStatus: null,
    };
  }

  async categories(signal: AbortSignal): Promise<readonly { id: string; name: string }[]> {
    signal.throwIfAborted();
    return Promise.resolve(ollamaCategories.map(({ id, name }) => ({ id, name })));
  }

  async locate(file: FileRequest, signal: AbortSignal): Promise<FileLocation> {
    const digest = file.sha256 === null ? '' : `sha256:${file.sha256.replace(/^sha256:/, '')}`;
    if (!/^sha256:[0-9a-f]{64}$/.test(digest)) throw new AppError('FILE_NOT_FOUND', `${file.ref.name} has no file ${file.path}.`);
    return { ...(await this.#registry.locate(file.ref, digest, signal)), revision: file.revision };
  }

  async readRange(file: FileRequest, offset: number, length: number, signal: AbortSignal): Promise<Uint8Array> {
    const key = `${file.ref.name}/${file.sha256 ?? ''}`;
    return this.#ranges.read(key, () => this.locate(file, signal), { offset, length }, signal);
  }

  /** Pages as the site cuts them; ours may end within one, so a cursor is `<page>.<rows taken of it>`. */
  async #searchPages({ category, cursor, limit }: SourceSearch, query: LibraryQuery, signal: AbortSignal): Promise<SourcePage> {
    const [page = 1, taken = 0] = readCursor(cursor, /^(\d{1,4})\.(\d{1,4})$/) ?? [];
    const { cards, hasNext } = await this.#library.page(query, Math.max(1, page), signal);
    const rest = cards.slice(taken, taken + limit);
    const items = rest.map((card) => toSummary(card, this.endpoint)).filter((item) => isOfCategory(item, category));
    const isWithin = taken + rest.length < cards.length;
    const next = isWithin ? `${page}.${taken + rest.length}` : hasNext ? `${page + 1}.0` : null;
    return { items, nextCursor: next, total: null };
  }

  async #searchWhole(request: SourceSearch, query: LibraryQuery, signal: AbortSignal): Promise<SourcePage> {
    const compare = wholeSorts.get(request.sort);
    if (!compare) throw validationFailed([{ field: 'sort', message: `${ollamaName} cannot sort by ${request.sort}` }]);
    const [offset = 0] = readCursor(request.cursor, /^(\d{1,6})$/) ?? [];
    const direction = request.order === 'asc' ? 1 : -1;
    const cards = [...(await this.#library.all(query, signal))].sort((a, b) => direction * compare(a, b));
    const items = cards.map((card) => toSummary(card, this.endpoint)).filter((item) => isOfCategory(item, request.category));
    const end = offset + request.limit;
    return { items: items.slice(offset, end), nextCursor: end < items.length ? String(end) : null, total: items.length };
  }

  async #config(ref: ModelRef, { config }: OllamaManifest, signal: AbortSignal): Promise<OllamaConfig> {
    if (config.size > configBytesMax) throw unavailable(ollamaName, 'sent a manifest that cannot be read');
    const bytes = await this.#blob(ref, config.digest, config.size, signal);
    if (`sha256:${createHash('sha256').update(bytes).digest('hex')}` !== config.digest) throw unavailable(ollamaName, 'sent other bytes than its manifest promises');
    const parsed = ollamaConfigSchema.safeParse(parseJson(bytes));
    if (!parsed.success) throw unavailable(ollamaName, 'sent a model configuration that cannot be read', { cause: parsed.error });
    return parsed.data;
  }

  async #license(ref: ModelRef, { layers }: OllamaManifest, signal: AbortSignal): Promise<string | null> {
    const layer = layers.find((candidate) => layerKind(candidate) === 'license');
    if (!layer || layer.size === 0) return null;
    const bytes = await this.#optional('license', () => this.#blob(ref, layer.digest, Math.min(layer.size, licenseBytes), signal), signal);
    const line = new TextDecoder().decode(bytes ?? new Uint8Array()).split('\n').find((candidate) => candidate.trim() !== '');
    return line === undefined ? null : line.trim().slice(0, 200);
  }

  async #blob(ref: ModelRef, digest: string, length: number, signal: AbortSignal): Promise<Uint8Array> {
    return this.readRange({ ref, revision: '', path: digest, sha256: digest }, 0, length, signal);
  }

  /** The model's card and tags as the site shows them: kind to have, never worth failing for. */
  async #pagesOf(name: string, signal: AbortSignal): Promise<{ card: LibraryCard | null; tags: readonly string[] }> {
    const limited = AbortSignal.any([signal, AbortSignal.timeout(pagesLimitMs)]);
    const [found, tags] = await Promise.all([
      this.#optional('search', () => this.#library.page({ text: name, capability: null, newestFirst: false }, 1, limited), signal),
      this.#optional('tags', () => this.#library.tags(name, limited), signal),
    ]);
    return { card: found?.cards.find((card) => card.name === name) ?? null, tags: (tags ?? []).slice(0, tagsMax) };
  }

  async #optional<T>(what: string, read: () => Promise<T>, signal: AbortSignal): Promise<T | null> {
    try {
      return await read();
    } catch (error) {
      signal.throwIfAborted();
      const isExpected = isAppError(error) || (error instanceof Error && error.name === 'TimeoutError');
      if (!isExpected) throw error;
      this.#logger.debug({ what, reason: error.message }, 'left out what the library could not tell');
      return null;
    }
  }

  #summarize(ref: ModelRef, config: OllamaConfig, { card, tags }: { card: LibraryCard | null; tags: readonly string[] }): ModelSummary {
    const nothing: LibraryCard = { name: ref.name, description: null, capabilities: config.capabilities ?? [], sizes: [], pulls: null, updatedAt: null };
    const base = toSummary(card ?? nothing, this.endpoint);
    const tag = ref.revision === null || ref.revision === 'latest' ? '' : `:${ref.revision}`;
    return {
      ...base,
      id: modelIdOf(ref),
      displayName: `${ref.name}${tag}`,
      category: categoryOf([...(card?.capabilities ?? []), ...(config.capabilities ?? [])]),
      tags: [...new Set([...base.tags, ...tags])].slice(0, tagsMax),
      parameters: parseCount(config.model_type ?? ''),
    };
  }
}

function sizesOf(manifest: OllamaManifest, { files, obstacle }: OllamaFiles, config: OllamaConfig): Partial<ModelSummary> {
  const hasGguf = files.some(({ format }) => format === 'gguf');
  return {
    sizeBytes: [manifest.config, ...manifest.layers].reduce((sum, { size }) => sum + size, 0),
    formats: hasGguf ? ['gguf'] : manifest.layers.some((layer) => layerKind(layer) === 'tensor') ? ['mlx'] : [],
    quantizations: config.file_type ? [config.file_type] : [],
    contextLength: config.context_length ?? null,
    ...(obstacle === null ? {} : { description: obstacle }),
  };
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isOfCategory(item: ModelSummary, category: string | undefined): boolean {
  // The other categories are asked of the site, which knows more than one of a model.
  return category !== 'text-generation' || item.category === category;
}

function readCursor(cursor: string | undefined, pattern: RegExp): number[] | null {
  if (cursor === undefined) return null;
  const match = pattern.exec(cursor);
  if (!match) throw validationFailed([{ field: 'cursor', message: 'not one that this service gave out' }]);
  return match.slice(1).map(Number);
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as unknown;
  } catch {
    // Told by the schema as an answer that cannot be read.
    return null;
  }
}
