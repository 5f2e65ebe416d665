import type { Cache } from '../../../../shared/cache.ts';
import { AppError } from '../../../../shared/errors.ts';
import type { OutgoingHttp, OutgoingResponse } from '../../../../shared/outgoing-http.ts';
import { bodyText, retryAfterOf, sendWithinOrigin, unavailable } from '../source-requests.ts';
import { parseSearchPage, parseTagsPage } from './library-html.ts';
import type { LibraryCard, LibraryPage } from './library-html.ts';

export const ollamaName = 'Ollama';

const pageBytesMax = 4 * 1024 * 1024;
/** The library has some hundred models, twenty a page. */
const pagesMax = 50;
const pagesAtOnce = 5;
const listingTtlSeconds = 300;
const waitWithoutHintSeconds = 60;

export type LibraryQuery = {
  text: string;
  /** The site's own word: `tools`, `vision`... */
  capability: string | null;
  newestFirst: boolean;
};

export type LibraryClientOptions = { http: OutgoingHttp; endpoint: string; cache: Cache; nowMs: () => number };

/** The AppError for an answer of the site or the registry that is no success and not about one model. */
export function toOllamaError(response: OutgoingResponse, nowMs: number): AppError {
  const retryAfterSeconds = retryAfterOf(response.headers, nowMs);
  if (response.status !== 429) return unavailable(ollamaName, `answered with HTTP ${response.status}`, { retryAfterSeconds });
  const seconds = retryAfterSeconds ?? waitWithoutHintSeconds;
  return new AppError('RATE_LIMITED', `${ollamaName} limits our requests for the next ${seconds} s.`, { retryAfterSeconds: seconds });
}

export class LibraryClient {
  readonly #options: LibraryClientOptions;

  constructor(options: LibraryClientOptions) {
    this.#options = options;
  }

  /** One page of the site's own list, in its order. */
  async page(query: LibraryQuery, page: number, signal: AbortSignal): Promise<LibraryPage> {
    const params = new URLSearchParams({ q: query.text });
    if (query.capability !== null) params.set('c', query.capability);
    if (query.newestFirst) params.set('o', 'newest');
    if (page > 1) params.set('page', String(page));
    const parsed = parseSearchPage(bodyText(await this.#get(`/search?${params.toString()}`, signal)), page);
    // A page without models is what a changed layout looks like; an error lets the last good answer be served.
    if (parsed.cards.length === 0 && page === 1 && !parsed.saysEmpty) throw unavailable(ollamaName, 'shows a page in which no models can be read');
    return parsed;
  }

  /** Every page of a result, for orders that the site cannot give. Throws SOURCE_UNAVAILABLE when it has no end. */
  async all(query: LibraryQuery, signal: AbortSignal): Promise<readonly LibraryCard[]> {
    const key = `ollama:library:${JSON.stringify([query.text, query.capability])}`;
    const options = { ttlSeconds: listingTtlSeconds, graceSeconds: 0, softTimeoutMs: 0 };
    const { value } = await this.#options.cache.getOrSet(key, (shared) => this.#readAll(query, shared), options, signal);
    return value;
  }

  async tags(name: string, signal: AbortSignal): Promise<string[]> {
    return parseTagsPage(bodyText(await this.#get(`${this.pathOf(name)}/tags`, signal)), name);
  }

  pathOf(name: string): string {
    return name.includes('/') ? `/${name}` : `/library/${name}`;
  }

  async #readAll(query: LibraryQuery, signal: AbortSignal): Promise<LibraryCard[]> {
    const cards = new Map<string, LibraryCard>();
    const add = (page: LibraryPage): number => {
      const before = cards.size;
      for (const card of page.cards) if (!cards.has(card.name)) cards.set(card.name, card);
      return cards.size - before;
    };
    const first = await this.page(query, 1, signal);
    add(first);
    let more = first.hasNext;
    for (let from = 2; more; from += pagesAtOnce) {
      if (from > pagesMax) throw unavailable(ollamaName, 'has too many results to be put into another order');
      const numbers = Array.from({ length: pagesAtOnce }, (_, index) => from + index);
      const pages = await Promise.all(numbers.map((number) => this.page(query, number, signal)));
      // Past the end come empty pages, or one that is known already.
      more = pages.every((page) => add(page) > 0 && page.hasNext);
    }
    return [...cards.values()];
  }

  async #get(path: string, signal: AbortSignal): Promise<OutgoingResponse> {
    const { http, endpoint, nowMs } = this.#options;
    const request = { method: 'GET', url: `${endpoint}${path}`, maxBytes: pageBytesMax, allowPrivate: true, sourceName: ollamaName } as const;
    const response = await sendWithinOrigin(http, request, signal);
    if (response.status !== 200) throw toOllamaError(response, nowMs());
    return response;
  }
}
