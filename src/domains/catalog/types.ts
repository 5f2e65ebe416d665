/** What the catalogue tells about models. A field that a source does not tell is null, never invented. */
import type { FieldFault, StoredError } from '../../shared/errors.ts';

/** Stable id of a source plug-in, the part of a model id before the colon. */
export type SourceId = string;

/** `<source>:<name>` parsed; see `model-ref.ts`. */
export type ModelRef = {
  source: SourceId;
  /** `org/name` on Hugging Face, `name`, `namespace/name` or `host/namespace/name` for Ollama. */
  name: string;
  /** Hugging Face revision (branch, tag or commit) or Ollama tag; null = the source's default. */
  revision: string | null;
};

export const modelFormats = ['gguf', 'safetensors', 'pytorch', 'onnx', 'mlx', 'other'] as const;
export type ModelFormat = (typeof modelFormats)[number];

export type ModelSummary = {
  /** Canonical id without revision: `huggingface:org/name`, `ollama:name`. */
  id: string;
  source: SourceId;
  name: string;
  author: string | null;
  displayName: string;
  description: string | null;
  /** A category id of `modelCategories`. */
  category: string | null;
  tags: readonly string[];
  license: string | null;
  /** Number of weights. */
  parameters: number | null;
  sizeBytes: number | null;
  formats: readonly ModelFormat[];
  quantizations: readonly string[];
  /** Tokens. */
  contextLength: number | null;
  downloads: number | null;
  likes: number | null;
  gated: boolean | null;
  createdAt: string | null;
  updatedAt: string | null;
  /** Page for people. */
  url: string | null;
};

export type FileSecurityStatus = 'safe' | 'caution' | 'suspicious' | 'unsafe' | 'unscanned' | 'queued' | 'error';

export type ModelFile = {
  /** Relative, `/`-separated, checked against hostile names. */
  path: string;
  sizeBytes: number;
  /** `sha256:<64 hex>` where the source tells it (LFS, Ollama). */
  sha256: string | null;
  /** Git blob SHA-1 (40 hex) of small files on the Hub. */
  gitSha1: string | null;
  format: ModelFormat;
  /** The source's own scan verdict: advice, not proof. */
  securityStatus: FileSecurityStatus | null;
};

/** One way to take the model: a quantisation, or the whole repository. */
export type ModelVariant = {
  /** Stable within the model: `Q4_K_M`, `F16`, `safetensors`, an Ollama tag. */
  name: string;
  format: ModelFormat;
  quantization: string | null;
  /** Weights of the variant, all shards. */
  files: readonly string[];
  sizeBytes: number;
  fit: FitEstimate | null;
  /** The one that is taken when nobody chooses. At most one variant of a model. */
  recommended: boolean;
};

export type FitVerdict = 'fits' | 'tight' | 'does_not_fit' | 'unknown';

/** Memory that the variant needs with the stated context, against what this machine has free. */
export type FitEstimate = {
  verdict: FitVerdict;
  contextSize: number;
  weightsBytes: number;
  kvCacheBytes: number | null;
  overheadBytes: number;
  neededBytes: number;
  availableBytes: number;
  /** Tokens; null when the header's figures are not known yet. */
  maxContextSize: number | null;
  /** One sentence for a person. */
  reason: string;
};

export type ModelDetail = ModelSummary & {
  /** Pinned commit (Hub) or manifest digest (Ollama) that files and variants belong to. */
  revision: string;
  /** Model card without front matter. */
  readmeMarkdown: string | null;
  readmeText: string | null;
  architecture: string | null;
  files: readonly ModelFile[];
  variants: readonly ModelVariant[];
  securityStatus: FileSecurityStatus | null;
};

export const modelSorts = ['relevance', 'downloads', 'likes', 'updated', 'created', 'trending', 'name', 'size'] as const;
export type ModelSort = (typeof modelSorts)[number];
export type SortOrder = 'asc' | 'desc';

export type SearchRequest = {
  query: string;
  /** Only this source; all when left out. */
  source?: SourceId;
  category?: string;
  format?: ModelFormat;
  sort: ModelSort;
  order: SortOrder;
  limit: number;
  cursor?: string;
};

export type SourceState = {
  source: SourceId;
  status: 'ok' | 'stale' | 'failed';
  cached: boolean;
  error: StoredError | null;
};

export type SearchResult = {
  items: readonly ModelSummary[];
  /** One for each item, to go on after it. */
  cursors: readonly string[];
  nextCursor: string | null;
  total: number | null;
  sources: readonly SourceState[];
};

export type ModelCategory = { id: string; name: string; sources: readonly SourceId[] };

export type SourceInfo = {
  id: SourceId;
  name: string;
  /** Base address as configured, without credentials. */
  endpoint: string;
  status: SourceState['status'] | 'unknown';
  error: StoredError | null;
  sorts: readonly ModelSort[];
};

export type { FieldFault };
