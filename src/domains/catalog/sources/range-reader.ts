import type { OutgoingHttp } from '../../../shared/outgoing-http.ts';
import type { FileLocation } from '../source.ts';
import { unavailable } from './source-requests.ts';

export type RangeRequest = { offset: number; length: number; sourceName: string };
export type RangeAnswer = { kind: 'bytes'; bytes: Uint8Array } | { kind: 'expired' };

/** The largest range that is held in memory at once. */
export const rangeBytesMax = 64 * 1024 * 1024;

/** Reads up to `length` bytes at `offset`; `expired` when the address is no longer honoured and must be asked anew. */
export async function readLocatedRange(http: OutgoingHttp, location: FileLocation, request: RangeRequest, signal: AbortSignal): Promise<RangeAnswer> {
  const { offset, length, sourceName } = request;
  if (!Number.isSafeInteger(offset) || offset < 0 || !Number.isSafeInteger(length) || length < 0 || length > rangeBytesMax) {
    throw new RangeError('offset and length must be whole numbers within bounds');
  }
  if (length === 0) return { kind: 'bytes', bytes: new Uint8Array() };
  const headers = { ...location.headers, 'accept-encoding': 'identity', range: `bytes=${offset}-${offset + length - 1}` };
  const { url, allowPrivate } = location;
  const response = await http({ method: 'GET', url, headers, maxBytes: length, overflow: 'truncate', allowPrivate }, signal);
  switch (response.status) {
    case 206: {
      if (!new RegExp(`^bytes ${offset}-`).test(response.headers['content-range'] ?? '')) throw unavailable(sourceName, 'sent another part of the file than was asked for');
      return { kind: 'bytes', bytes: response.body };
    }
    case 200:
      // The range was ignored: what comes is the start of the file.
      if (offset === 0) return { kind: 'bytes', bytes: response.body };
      throw unavailable(sourceName, 'cannot send parts of a file');
    case 416:
      return { kind: 'bytes', bytes: new Uint8Array() };
    case 401:
    case 403:
    case 410:
      return { kind: 'expired' };
    default:
      throw unavailable(sourceName, `answered a part of a file with HTTP ${response.status}`);
  }
}

/** Addresses stay usable for this long when they do not say: header reads follow each other within seconds. */
const unknownLifetimeMs = 60_000;
/** An address that ends within this is not begun with. */
const expiryMarginMs = 10_000;
const entriesMax = 64;

export type RangeReaderOptions = {
  http: OutgoingHttp;
  sourceName: string;
  nowMs: () => number;
};

/** Reads ranges of files and remembers their addresses, so that a header in several pieces is resolved once. */
export class RangeReader {
  readonly #options: RangeReaderOptions;
  readonly #locations = new Map<string, { location: FileLocation; untilMs: number }>();

  constructor(options: RangeReaderOptions) {
    this.#options = options;
  }

  async read(key: string, locate: () => Promise<FileLocation>, range: { offset: number; length: number }, signal: AbortSignal): Promise<Uint8Array> {
    const { http, sourceName } = this.#options;
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const location = await this.#located(key, locate);
      const answer = await readLocatedRange(http, location, { ...range, sourceName }, signal);
      if (answer.kind === 'bytes') return answer.bytes;
      this.#locations.delete(key);
    }
    throw unavailable(sourceName, 'gave an address that it does not honour');
  }

  async #located(key: string, locate: () => Promise<FileLocation>): Promise<FileLocation> {
    const known = this.#locations.get(key);
    const nowMs = this.#options.nowMs();
    if (known && known.untilMs > nowMs) return known.location;
    const location = await locate();
    const untilMs = location.expiresAtMs === null ? nowMs + unknownLifetimeMs : location.expiresAtMs - expiryMarginMs;
    this.#locations.delete(key);
    const oldest = this.#locations.keys().next();
    if (this.#locations.size >= entriesMax && !oldest.done) this.#locations.delete(oldest.value);
    this.#locations.set(key, { location, untilMs });
    return location;
  }
}
