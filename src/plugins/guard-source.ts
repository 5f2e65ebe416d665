import { z } from 'zod';
import { isSafeFilePath } from '../domains/catalog/file-path.ts';
import { modelIdOf, parseModelRef } from '../domains/catalog/model-ref.ts';
import type { ModelSource } from '../domains/catalog/source.ts';
import { modelFormats } from '../domains/catalog/types.ts';
import { abortable } from '../shared/async.ts';
import { AppError, type ErrorCode, isAppError } from '../shared/errors.ts';
import type { Logger } from '../shared/logger.ts';

const allowedCodes: readonly ErrorCode[] = ['MODEL_NOT_FOUND', 'MODEL_GATED', 'FILE_NOT_FOUND', 'RATE_LIMITED', 'SOURCE_UNAVAILABLE', 'TIMEOUT', 'VALIDATION_FAILED'];
const filesMax = 50_000;
const securityStatuses = ['safe', 'caution', 'suspicious', 'unsafe', 'unscanned', 'queued', 'error'] as const;

const text = z.string().max(10_000);
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const time = z.iso.datetime();
const format = z.enum(modelFormats);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);
const securityStatus = z.enum(securityStatuses).nullable();

const summaryOf = (source: string) =>
  z
    .object({
      id: z.string(),
      source: z.literal(source),
      name: text,
      author: text.nullable(),
      displayName: text,
      description: text.nullable(),
      category: text.nullable(),
      tags: z.array(text).max(1_000),
      license: text.nullable(),
      parameters: count.nullable(),
      sizeBytes: count.nullable(),
      formats: z.array(format),
      quantizations: z.array(text).max(1_000),
      contextLength: count.nullable(),
      downloads: count.nullable(),
      likes: count.nullable(),
      gated: z.boolean().nullable(),
      createdAt: time.nullable(),
      updatedAt: time.nullable(),
      url: z.url({ protocol: /^https?$/ }).nullable(),
    })
    .refine(({ id, name }) => isCanonical(id) && id === `${source}:${name}`, 'its id must be <source>:<owner>/<name>');

const file = z.object({ path: z.string().refine(isSafeFilePath), sizeBytes: count, sha256: digest.nullable(), gitSha1: z.string().regex(/^[0-9a-f]{40}$/).nullable(), format, securityStatus });
const variant = z.object({ name: text, format, quantization: text.nullable(), files: z.array(z.string()).max(filesMax), sizeBytes: count });

const shapesOf = (source: string) => ({
  page: z.object({ items: z.array(summaryOf(source)).max(1_000), nextCursor: text.nullable(), total: count.nullable() }),
  model: z.object({
    summary: summaryOf(source),
    revision: z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/),
    architecture: text.nullable(),
    readmeMarkdown: z.string().max(10_000_000).nullable(),
    files: z.array(file).max(filesMax),
    variants: z.array(variant).max(1_000).exactOptional(),
    securityStatus,
  }),
  categories: z.array(z.object({ id: text, name: text })).max(1_000),
  location: z.object({
    url: z.url({ protocol: /^https?$/ }),
    headers: z.record(z.string(), z.string()),
    etag: z.string().nullable(),
    sizeBytes: count.nullable(),
    revision: z.string().nullable(),
    expiresAtMs: z.number().nullable(),
    allowPrivate: z.boolean(),
  }),
  bytes: z.instanceof(Uint8Array),
});

/** A source whose failures are those of its port, and whose answers have been looked at like any stranger's. */
export function guardSource(source: ModelSource, logger: Logger): ModelSource {
  const { id, name, endpoint, capabilities } = source;
  const shapes = shapesOf(id);
  const guarded = async <T>(method: string, shape: z.ZodType<T>, work: () => Promise<unknown>, signal: AbortSignal): Promise<T> => {
    signal.throwIfAborted();
    try {
      return shape.parse(await abortable((async () => await work())(), signal));
    } catch (error) {
      signal.throwIfAborted();
      if (isAppError(error, ...allowedCodes)) throw error;
      logger.error({ source: id, method, err: error }, 'a source failed in a way that its contract does not allow');
      throw new AppError('SOURCE_UNAVAILABLE', error instanceof z.ZodError ? `${name} sent an answer that cannot be read.` : `${name} failed.`, { cause: error });
    }
  };
  return {
    id,
    name,
    endpoint,
    capabilities,
    search: (request, signal) => guarded('search', shapes.page, () => source.search(request, signal), signal),
    describe: (ref, signal) => guarded('describe', shapes.model, () => source.describe(ref, signal), signal),
    categories: (signal) => guarded('categories', shapes.categories, () => source.categories(signal), signal),
    locate: (request, signal) => guarded('locate', shapes.location, () => source.locate(request, signal), signal),
    readRange: (request, offset, length, signal) => guarded('readRange', shapes.bytes.refine((bytes) => bytes.length <= length), () => source.readRange(request, offset, length, signal), signal),
  };
}

function isCanonical(id: string): boolean {
  try {
    return modelIdOf(parseModelRef(id)) === id;
  } catch {
    return false;
  }
}
