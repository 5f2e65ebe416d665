import type { ModelCategory, ModelFile, ModelFormat, ModelRef, ModelSort, ModelSummary, ModelVariant, SortOrder } from './types.ts';

/**
 * Plug-in port: a place where models are found and fetched from. Built-in: `huggingface`, `ollama`.
 *
 * Every method waits on the network, takes the signal last and ends with its reason when it aborts. Failures are
 * AppErrors: MODEL_NOT_FOUND, MODEL_GATED, RATE_LIMITED (with retryAfterSeconds), SOURCE_UNAVAILABLE, TIMEOUT; of
 * `locate` and `readRange` also FILE_NOT_FOUND; of `search` also VALIDATION_FAILED for a cursor of another's.
 * No method retries for longer than a few seconds; callers do. Calls may run side by side.
 * `test/contract/model-source.contract.ts` is the suite that every source passes.
 */
export type ModelSource = {
  readonly id: string;
  /** Name for people. */
  readonly name: string;
  readonly endpoint: string;
  readonly capabilities: SourceCapabilities;
  search(request: SourceSearch, signal: AbortSignal): Promise<SourcePage>;
  /** The model at `ref.revision`, pinned: the answer's `revision` never means other bytes later. */
  describe(ref: ModelRef, signal: AbortSignal): Promise<SourceModel>;
  categories(signal: AbortSignal): Promise<readonly Omit<ModelCategory, 'sources'>[]>;
  /**
   * Where the bytes of one file are, now. Asked again when the address has expired. Never carries credentials to
   * another host than the source's own.
   */
  locate(file: FileRequest, signal: AbortSignal): Promise<FileLocation>;
  /** Up to `length` bytes of the file from `offset`, for reading headers before a download. */
  readRange(file: FileRequest, offset: number, length: number, signal: AbortSignal): Promise<Uint8Array>;
};

export type SourceCapabilities = {
  /** Sorts that cover the whole result, with the orders that the source can do. */
  sorts: Readonly<Partial<Record<ModelSort, readonly SortOrder[]>>>;
  formats: readonly ModelFormat[];
  /** `huggingface`: files belong in the shared Hugging Face cache; `models_dir`: in our own models folder. */
  store: 'huggingface' | 'models_dir';
};

export type SourceSearch = {
  query: string;
  category?: string;
  format?: ModelFormat;
  sort: ModelSort;
  order: SortOrder;
  limit: number;
  /** The source's own opaque cursor of the page before. */
  cursor?: string;
};

export type SourcePage = { items: readonly ModelSummary[]; nextCursor: string | null; total: number | null };

export type SourceModel = {
  summary: ModelSummary;
  /** Hub commit or Ollama manifest digest. */
  revision: string;
  architecture: string | null;
  readmeMarkdown: string | null;
  files: readonly ModelFile[];
  /** Where the source knows them better than the files' names tell; their files are among `files`. */
  variants?: readonly Pick<ModelVariant, 'name' | 'format' | 'quantization' | 'files' | 'sizeBytes'>[];
  securityStatus: ModelFile['securityStatus'];
};

export type FileRequest = {
  ref: ModelRef;
  /** The pinned revision of `describe`. */
  revision: string;
  path: string;
  /** Ollama: blobs are addressed by digest. */
  sha256: string | null;
};

export type FileLocation = {
  url: string;
  /** Sent with every request to `url`; never logged. */
  headers: Readonly<Record<string, string>>;
  /** The entity tag under which the bytes were promised, if any. */
  etag: string | null;
  sizeBytes: number | null;
  /** Commit that the source says the bytes belong to. */
  revision: string | null;
  /** Epoch milliseconds after which `url` is refused; null = not known. */
  expiresAtMs: number | null;
  /** May the address be private or loopback (only when the operator's own endpoint is). */
  allowPrivate: boolean;
};
