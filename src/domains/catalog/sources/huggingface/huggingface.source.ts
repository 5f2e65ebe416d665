import type { Clock } from '../../../../shared/clock.ts';
import { isAppError } from '../../../../shared/errors.ts';
import type { Logger } from '../../../../shared/logger.ts';
import type { OutgoingHttp } from '../../../../shared/outgoing-http.ts';
import { weightFormatsOf } from '../../file-path.ts';
import { descriptionOf, withoutFrontMatter } from '../../model-card.ts';
import type { FileLocation, FileRequest, ModelSource, SourceModel, SourcePage, SourceSearch } from '../../source.ts';
import type { ModelFile, ModelRef, ModelSort } from '../../types.ts';
import { RangeReader } from '../range-reader.ts';
import { createSourceHttp, normalizeEndpoint, unavailable } from '../source-requests.ts';
import { hubCategories } from './hub-categories.ts';
import { HubClient } from './hub-client.ts';
import { hubName } from './hub-errors.ts';
import { locateHubFile } from './hub-locate.ts';
import { quantizationsOf, securityStatusOf, toFiles, toSummary } from './hub-mapping.ts';
import { hubConfigFileSchema } from './hub-schemas.ts';
import type { HubModel } from './hub-schemas.ts';

/** `null`: the Hub's own order. The Hub sorts descending only. */
const hubSorts: Readonly<Partial<Record<ModelSort, string | null>>> = {
  relevance: null,
  downloads: 'downloads',
  likes: 'likes',
  updated: 'lastModified',
  created: 'createdAt',
  trending: 'trendingScore',
  size: 'mainSize',
};
/** `gguf` is left out on purpose: it carries every row's chat template and makes a page twenty times as long. */
const listFields = [
  'author', 'createdAt', 'disabled', 'downloads', 'gated', 'lastModified', 'library_name', 'likes', 'pipeline_tag', 'safetensors', 'siblings', 'tags',
];
const pageRowsMax = 100;
const readmeBytesMax = 1024 * 1024;
const configBytesMax = 1024 * 1024;

export type HuggingFaceOptions = {
  http: OutgoingHttp;
  clock: Clock;
  logger: Logger;
  /** `https://huggingface.co` or a mirror (HF_ENDPOINT). */
  endpoint: string;
  /** HF_TOKEN; sent to the endpoint and to no other host. */
  token?: string | undefined;
  /** May files lie at private addresses; they may anyway when the endpoint itself is at one. */
  allowPrivate?: boolean;
};

/** The Hugging Face Hub, or a mirror that speaks its API. */
export function createHuggingFaceSource(options: HuggingFaceOptions): ModelSource {
  return new HuggingFaceSource(options);
}

class HuggingFaceSource implements ModelSource {
  readonly id = 'huggingface';
  readonly name = hubName;
  readonly endpoint: string;
  readonly capabilities: ModelSource['capabilities'] = {
    sorts: Object.fromEntries(Object.keys(hubSorts).map((sort) => [sort, ['desc']])),
    formats: ['gguf', 'safetensors', 'pytorch', 'onnx', 'mlx'],
    store: 'huggingface',
  };
  readonly #client: HubClient;
  readonly #http: OutgoingHttp;
  readonly #ranges: RangeReader;
  readonly #logger: Logger;
  readonly #allowPrivate: boolean;

  constructor({ http, clock, logger, endpoint, token, allowPrivate }: HuggingFaceOptions) {
    const nowMs = (): number => clock.now().getTime();
    this.endpoint = normalizeEndpoint(endpoint);
    this.#http = createSourceHttp(http, hubName);
    this.#client = new HubClient({ http: this.#http, endpoint: this.endpoint, token: token === undefined || token === '' ? null : token, nowMs });
    this.#ranges = new RangeReader({ http: this.#http, sourceName: hubName, nowMs });
    this.#logger = logger;
    this.#allowPrivate = allowPrivate ?? false;
  }

  async search(request: SourceSearch, signal: AbortSignal): Promise<SourcePage> {
    const { rows, next } = await this.#client.listModels(toListQuery(request), signal);
    const items = rows.filter(({ disabled }) => disabled !== true).flatMap((row) => toSummary(row, this.endpoint) ?? []);
    return { items, nextCursor: next, total: null };
  }

  async describe(ref: ModelRef, signal: AbortSignal): Promise<SourceModel> {
    const model = await this.#client.model(ref.name, ref.revision ?? 'HEAD', signal);
    const summary = toSummary(model, this.endpoint);
    const commit = model.sha ?? '';
    if (!summary || !/^[0-9a-f]{40}$/.test(commit)) throw unavailable(hubName, 'sent an answer that cannot be read', { internal: `sha ${commit}` });
    const { name } = summary;
    const [entries, readme] = await Promise.all([this.#client.tree(name, commit, signal), this.#optionalText({ name, commit, path: 'README.md', maxBytes: readmeBytesMax }, signal)]);
    const { files, refused } = toFiles(entries, model);
    if (refused.length > 0) this.#logger.warn({ model: name, count: refused.length }, 'left out files with unsafe names');
    const config = await this.#config({ name, commit, isTold: Boolean(model.gguf), files }, signal);
    return {
      summary: {
        ...summary,
        description: readme === null ? null : descriptionOf(readme),
        sizeBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        formats: weightFormatsOf(files),
        quantizations: quantizationsOf(files.map(({ path }) => path)),
        contextLength: summary.contextLength ?? config.contextLength,
      },
      revision: commit,
      architecture: architectureOf(model) ?? config.architecture,
      readmeMarkdown: readme === null ? null : withoutFrontMatter(readme),
      files,
      securityStatus: securityStatusOf(model),
    };
  }

  async categories(signal: AbortSignal): Promise<readonly { id: string; name: string }[]> {
    signal.throwIfAborted();
    return Promise.resolve(hubCategories);
  }

  async locate(file: FileRequest, signal: AbortSignal): Promise<FileLocation> {
    return locateHubFile(file, { http: this.#http, client: this.#client, allowPrivate: this.#allowPrivate }, signal);
  }

  async readRange(file: FileRequest, offset: number, length: number, signal: AbortSignal): Promise<Uint8Array> {
    const key = `${file.ref.name}@${file.revision}/${file.path}`;
    return this.#ranges.read(key, () => this.locate(file, signal), { offset, length }, signal);
  }

  /** Null when there is none, when it is gated, and when it alone cannot be had: a card is not worth losing the model for. */
  async #optionalText(file: { name: string; commit: string; path: string; maxBytes: number }, signal: AbortSignal): Promise<string | null> {
    try {
      return await this.#client.text(file, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (isAppError(error, 'FILE_NOT_FOUND', 'MODEL_GATED')) return null;
      if (!isAppError(error)) throw error;
      this.#logger.warn({ model: file.name, path: file.path, code: error.code, internal: error.internal }, 'a file of the model page could not be read');
      return null;
    }
  }

  /** Repositories without GGUF tell the context length in a file only. */
  async #config(model: { name: string; commit: string; isTold: boolean; files: readonly ModelFile[] }, signal: AbortSignal): Promise<ConfigFacts> {
    const nothing: ConfigFacts = { contextLength: null, architecture: null };
    if (model.isTold || !model.files.some(({ path }) => path === 'config.json')) return nothing;
    const text = await this.#optionalText({ ...model, path: 'config.json', maxBytes: configBytesMax }, signal);
    const config = hubConfigFileSchema.safeParse(parseJson(text));
    if (!config.success) return nothing;
    const length = config.data.max_position_embeddings ?? config.data.text_config?.max_position_embeddings ?? null;
    return { contextLength: Number.isSafeInteger(length) ? length : null, architecture: config.data.model_type ?? null };
  }
}

type ConfigFacts = { contextLength: number | null; architecture: string | null };

function parseJson(text: string | null): unknown {
  try {
    return JSON.parse(text ?? 'null') as unknown;
  } catch {
    // A stranger's file that is no JSON tells nothing.
    return null;
  }
}

function architectureOf({ gguf, config }: HubModel): string | null {
  return gguf?.architecture ?? config?.model_type ?? null;
}

function toListQuery({ query, category, format, sort, limit, cursor }: SourceSearch): URLSearchParams {
  const params = new URLSearchParams();
  if (query !== '') params.set('search', query);
  if (category !== undefined) params.set('pipeline_tag', category);
  // Formats are tags of repositories like any other.
  if (format !== undefined) params.set('filter', format);
  const key = hubSorts[sort];
  if (key) params.set('sort', key);
  params.set('limit', String(Math.min(limit, pageRowsMax)));
  for (const field of listFields) params.append('expand', field);
  if (cursor !== undefined) params.set('cursor', cursor);
  return params;
}
