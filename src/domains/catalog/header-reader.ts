import type { Cache } from '../../shared/cache.ts';
import { isAppError } from '../../shared/errors.ts';
import { GgufError } from '../../shared/gguf/errors.ts';
import type { ReadAt } from '../../shared/gguf/byte-cursor.ts';
import { readGgufHeader } from '../../shared/gguf/header.ts';
import type { GgufHeader } from '../../shared/gguf/header.ts';
import type { Logger } from '../../shared/logger.ts';
import { readConfigFigures, type ConfigFigures } from '../../shared/safetensors/figures.ts';
import { readSafetensorsHeader, SafetensorsError } from '../../shared/safetensors/header.ts';
import { recommendedOf } from './fit.ts';
import { variantFilesOf } from './model-detail.ts';
import type { ModelSource, SourceModel } from './source.ts';
import type { ModelFile, ModelRef } from './types.ts';
import type { VariantFiles } from './variants.ts';

/** The figures belong to a commit or digest: they never change. */
const headerCache = { ttlSeconds: 7 * 86_400, graceSeconds: 7 * 86_400, softTimeoutMs: 0 };

const configBytesMax = 1024 * 1024;

export type HeaderRequest = { source: ModelSource; ref: ModelRef; model: SourceModel; /** How long the caller waits for it. */ limitMs: number };

/** What headers tell of a model's variants by their format; null where there is none, or it could not be read. */
export type ModelHeaders = { gguf: GgufHeader | null; safetensors: SafetensorsFigures | null };

/** `loadedShare`: what the weights take once they are loaded, as a share of their files. */
export type SafetensorsFigures = ConfigFigures & { loadedShare: number };

type ReadPart = (file: ModelFile) => (offset: number, length: number) => Promise<Uint8Array>;

/**
 * Reads the header of one file of a model where it lies, a few ranges of it, so that memory can be told before
 * anything is downloaded. One GGUF stands for all quantisations, which differ in the weights' size alone; the first
 * part of a safetensors model for the others, beside the whole `config.json`.
 */
export class HeaderReader {
  readonly #cache: Cache;
  readonly #logger: Logger;

  constructor(cache: Cache, logger: Logger) {
    this.#cache = cache;
    this.#logger = logger;
  }

  /** What takes too long is null; a later call may then find it in the cache. */
  async read(request: HeaderRequest, signal: AbortSignal): Promise<ModelHeaders> {
    const variants = variantFilesOf(request.model);
    const ggufFile = ggufFileOf(request.model, variants);
    const config = request.model.files.find(({ path, sizeBytes }) => path === 'config.json' && sizeBytes <= configBytesMax);
    const [weights] = request.model.files.filter(({ path }) => variants.some(({ format, files }) => format === 'safetensors' && files[0] === path));
    const [gguf, safetensors] = await Promise.all([
      ggufFile ? this.#read(request, ggufFile, (part) => readGguf(ggufFile, part(ggufFile)), signal) : null,
      config && weights ? this.#read(request, weights, (part) => readSafetensors({ config, weights }, part), signal) : null,
    ]);
    return { gguf, safetensors };
  }

  async #read<T>({ source, ref, model: { revision }, limitMs }: HeaderRequest, of: ModelFile, parse: (part: ReadPart) => Promise<T | null>, signal: AbortSignal): Promise<T | null> {
    const key = `catalog:header:${source.id}:${ref.name}:${revision}:${of.sha256 ?? of.path}`;
    const fetch = (shared: AbortSignal): Promise<T | null> =>
      parse(({ path, sha256 }) => (offset, length) => source.readRange({ ref, revision, path, sha256 }, offset, length, shared));
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
}

/** Null, kept as "tells nothing", where it is no good: the file will not become better. */
async function readGguf({ sizeBytes }: ModelFile, readAt: ReadAt): Promise<GgufHeader | null> {
  try {
    // The template may be a megabyte and is of no use here.
    return { ...(await readGgufHeader({ size: sizeBytes, readAt })), chatTemplate: null, chatTemplates: [] };
  } catch (error) {
    if (error instanceof GgufError) return null;
    throw error;
  }
}

async function readSafetensors({ config, weights }: { config: ModelFile; weights: ModelFile }, part: ReadPart): Promise<SafetensorsFigures | null> {
  const figures = readConfigFigures(new TextDecoder().decode(await part(config)(0, config.sizeBytes)));
  if (figures === null) return null;
  try {
    const { tensorBytes, loadedBytes } = await readSafetensorsHeader({ size: weights.sizeBytes, readAt: part(weights) });
    return { ...figures, loadedShare: tensorBytes === 0 ? 1 : loadedBytes / tensorBytes };
  } catch (error) {
    if (error instanceof SafetensorsError) return null;
    throw error;
  }
}

/** The first file of the variant that would be taken if every one fitted: the most asked for is warm in the storage. */
function ggufFileOf({ files }: SourceModel, variants: readonly VariantFiles[]): ModelFile | undefined {
  const gguf = variants.filter(({ format }) => format === 'gguf');
  const usual = recommendedOf(gguf.map((variant) => ({ ...variant, fit: null })));
  const path = usual?.files[0];
  return files.find((file) => file.path === path);
}
