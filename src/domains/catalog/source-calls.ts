import type { Cache, CacheHit, CacheOptions } from '../../shared/cache.ts';
import { AppError, isAppError, toStoredError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ModelSource } from './source.ts';
import type { SourceState } from './types.ts';

/** After these the cached answer is wrong, not merely old. */
const finalCodes = ['MODEL_NOT_FOUND', 'MODEL_GATED', 'FILE_NOT_FOUND', 'VALIDATION_FAILED'] as const;

export type SourceCall<T> = {
  source: ModelSource;
  key: string;
  /** How long the caller waits; the call itself goes on and fills the cache. */
  limitMs: number;
  cache: CacheOptions;
  fetch: (signal: AbortSignal) => Promise<T>;
};

export type SourceHit<T> = CacheHit<T> & { /** Why a stale value could not be made fresh, if this call learnt it. */ error: AppError | null };

export type SourceStatus = Pick<SourceState, 'status' | 'error'>;

/** Calls to sources through the cache, within a time limit; remembers how each source answered last. */
export class SourceCalls {
  readonly #cache: Cache;
  readonly #logger: Logger;
  readonly #statuses = new Map<string, SourceStatus>();

  constructor(cache: Cache, logger: Logger) {
    this.#cache = cache;
    this.#logger = logger;
  }

  statusOf(sourceId: string): SourceStatus | undefined {
    return this.#statuses.get(sourceId);
  }

  /** Throws AppErrors, and the signal's reason when the caller's own signal aborts. */
  async call<T>(call: SourceCall<T>, signal: AbortSignal): Promise<SourceHit<T>> {
    signal.throwIfAborted();
    const { source, key, limitMs, cache, fetch } = call;
    let learnt: AppError | null = null;
    const factory = async (shared: AbortSignal): Promise<T> => {
      try {
        const value = await fetch(shared);
        this.#statuses.set(source.id, { status: 'ok', error: null });
        return value;
      } catch (error) {
        learnt = this.#toAppError(error, source);
        throw learnt;
      }
    };
    const limit = AbortSignal.timeout(limitMs);
    try {
      const hit = await this.#cache.getOrSet(key, factory, cache, AbortSignal.any([signal, limit]));
      return await this.#checked({ ...hit, error: learnt }, key);
    } catch (error) {
      signal.throwIfAborted();
      throw limit.aborted && !isAppError(error) ? this.#tooSlow(source) : this.#toAppError(error, source);
    }
  }

  async #checked<T>(hit: SourceHit<T>, key: string): Promise<SourceHit<T>> {
    if (!hit.stale || !isAppError(hit.error, ...finalCodes)) return hit;
    await this.#cache.delete(key);
    throw hit.error;
  }

  #tooSlow(source: ModelSource): AppError {
    const error = new AppError('TIMEOUT', `${source.name} did not answer in time.`);
    this.#remember(source, error);
    return error;
  }

  #toAppError(error: unknown, source: ModelSource): AppError {
    if (isAppError(error)) {
      // That one model is missing says nothing about the source.
      if (!isAppError(error, ...finalCodes)) this.#remember(source, error);
      return error;
    }
    const isTimeout = error instanceof Error && error.name === 'TimeoutError';
    if (isTimeout) return this.#tooSlow(source);
    this.#logger.error({ source: source.id, err: error }, 'a source failed in a way that its contract does not allow');
    const masked = new AppError('SOURCE_UNAVAILABLE', `${source.name} failed.`, { cause: error });
    this.#remember(source, masked);
    return masked;
  }

  #remember(source: ModelSource, error: AppError): void {
    this.#statuses.set(source.id, { status: 'failed', error: toStoredError(error, 'SOURCE_UNAVAILABLE', '') });
    this.#logger.warn({ source: source.id, code: error.code, internal: error.internal }, 'a source did not answer');
  }
}
