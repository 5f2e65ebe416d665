import type { Cache } from '../../shared/cache.ts';
import { isAppError } from '../../shared/errors.ts';
import { GgufError } from '../../shared/gguf/errors.ts';
import { readGgufHeader } from '../../shared/gguf/header.ts';
import type { GgufHeader } from '../../shared/gguf/header.ts';
import type { Logger } from '../../shared/logger.ts';
import { recommendedOf } from './fit.ts';
import { variantFilesOf } from './model-detail.ts';
import type { ModelSource, SourceModel } from './source.ts';
import type { ModelFile, ModelRef } from './types.ts';

/** The figures belong to a commit or digest: they never change. */
const headerCache = { ttlSeconds: 7 * 86_400, graceSeconds: 7 * 86_400, softTimeoutMs: 0 };

export type HeaderRequest = { source: ModelSource; ref: ModelRef; model: SourceModel; /** How long the caller waits for it. */ limitMs: number };

/**
 * Reads the header of one GGUF file of a model where it lies, a few ranges of it, so that memory can be told before
 * anything is downloaded. One header stands for all quantisations: they differ in the weights' size alone.
 */
export class HeaderReader {
  readonly #cache: Cache;
  readonly #logger: Logger;

  constructor(cache: Cache, logger: Logger) {
    this.#cache = cache;
    this.#logger = logger;
  }

  /** Null when there is none, when it is no good, or when it takes too long; a later call may then find it in the cache. */
  async read({ source, ref, model, limitMs }: HeaderRequest, signal: AbortSignal): Promise<GgufHeader | null> {
    const file = headerFileOf(model);
    if (!file) return null;
    const { revision } = model;
    const key = `catalog:header:${source.id}:${ref.name}:${revision}:${file.sha256 ?? file.path}`;
    const request = { ref, revision, path: file.path, sha256: file.sha256 };
    const fetch = async (shared: AbortSignal): Promise<GgufHeader | null> => {
      const header = await this.#parse(file, (offset, length) => source.readRange(request, offset, length, shared));
      // The template may be a megabyte and is of no use here.
      return header && { ...header, chatTemplate: null, chatTemplates: [] };
    };
    const limit = AbortSignal.timeout(limitMs);
    try {
      return (await this.#cache.getOrSet(key, fetch, headerCache, AbortSignal.any([signal, limit]))).value;
    } catch (error) {
      signal.throwIfAborted();
      const isExpected = isAppError(error) || (error instanceof Error && error.name === 'TimeoutError');
      this.#logger[isExpected ? 'debug' : 'warn']({ source: source.id, model: ref.name, err: error }, 'the header of a model could not be read');
      return null;
    }
  }

  async #parse(file: ModelFile, readAt: (offset: number, length: number) => Promise<Uint8Array>): Promise<GgufHeader | null> {
    try {
      return await readGgufHeader({ size: file.sizeBytes, readAt });
    } catch (error) {
      // Kept as "tells nothing": the file will not become better.
      if (error instanceof GgufError) return null;
      throw error;
    }
  }
}

/** The first file of the variant that would be taken if every one fitted: the most asked for is warm in the storage. */
function headerFileOf(model: SourceModel): ModelFile | undefined {
  const gguf = variantFilesOf(model).filter(({ format }) => format === 'gguf');
  const usual = recommendedOf(gguf.map((variant) => ({ ...variant, fit: null })));
  const path = usual?.files[0];
  return model.files.find((file) => file.path === path);
}
