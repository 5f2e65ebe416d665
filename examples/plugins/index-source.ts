/**
 * A source of models: one JSON file on a web server of your own, such as a mirror inside a company.
 *
 *   MODEL_INDEX_URL=https://models.example.org/index.json LLM_MANAGER_PLUGINS=./examples/plugins/index-source.ts npm start
 *
 * The index: {"models": [{"name": "owner/name", "description": "...", "files": [{"path", "sizeBytes", "sha256" (hex), "url"}]}]};
 * addresses of files may be relative to it. The server must answer range requests.
 */
import { createHash } from 'node:crypto';
import { AppError, definePlugin, type ModelFile, type ModelRef, type ModelSource, type ModelSummary, type OutgoingResponse, type PluginHost, type SourceSearch } from 'llm-manager/plugin';
import { z } from 'zod';

const indexShape = z.object({
  models: z.array(
    z.object({
      name: z.string().regex(/^[\w.-]+\/[\w.-]+$/),
      description: z.string().nullable().default(null),
      files: z.array(z.object({ path: z.string(), sizeBytes: z.number(), sha256: z.string().regex(/^[0-9a-f]{64}$/), url: z.string() })).min(1),
    }),
  ),
});

type Entry = z.infer<typeof indexShape>['models'][number];

const id = 'index';
const name = 'Our model index';
const category = 'text-generation';
const indexBytesMax = 10 * 1024 * 1024;

/** Reads the index and parts of files, its failures in the words of the port. */
class IndexClient {
  readonly #http: PluginHost['http'];
  readonly #indexUrl: string;

  constructor(http: PluginHost['http'], indexUrl: string) {
    this.#http = http;
    this.#indexUrl = indexUrl;
  }

  async get(url: string, options: { headers?: Record<string, string>; maxBytes: number }, signal: AbortSignal): Promise<OutgoingResponse> {
    let answer: OutgoingResponse;
    try {
      answer = await this.#http({ method: 'GET', url, allowPrivate: true, ...options }, signal);
    } catch (error) {
      signal.throwIfAborted();
      throw unavailable('could not be reached', error);
    }
    if (answer.status === 429) throw new AppError('RATE_LIMITED', `${name} asks for a pause.`, { retryAfterSeconds: Number(answer.headers['retry-after'] ?? 60) });
    if (answer.status >= 500) throw unavailable(`answered ${answer.status}`);
    return answer;
  }

  async read(signal: AbortSignal): Promise<Entry[]> {
    const answer = await this.get(this.#indexUrl, { maxBytes: indexBytesMax }, signal);
    try {
      return indexShape.parse(JSON.parse(Buffer.from(answer.body).toString('utf8'))).models;
    } catch (error) {
      throw unavailable('sent no index', error);
    }
  }

  async find(ref: ModelRef, signal: AbortSignal): Promise<Entry> {
    const entry = (await this.read(signal)).find((candidate) => candidate.name === ref.name);
    if (!entry) throw new AppError('MODEL_NOT_FOUND', `${name} has no model ${ref.name}.`);
    return entry;
  }

  /** Under another revision a file may have other bytes, so that is not the file that was asked for. */
  async findFile(request: { ref: ModelRef; revision: string; path: string }, signal: AbortSignal): Promise<{ url: string; sizeBytes: number }> {
    const entry = await this.find(request.ref, signal);
    const file = entry.files.find(({ path }) => path === request.path);
    if (!file || revisionOf(entry) !== request.revision) throw new AppError('FILE_NOT_FOUND', `${name} does not have ${request.path} of that revision.`);
    return { url: new URL(file.url, this.#indexUrl).href, sizeBytes: file.sizeBytes };
  }
}

export function createIndexSource({ http }: Pick<PluginHost, 'http'>, indexUrl: string): ModelSource {
  const client = new IndexClient(http, indexUrl);
  return {
    id,
    name,
    endpoint: new URL(indexUrl).origin,
    capabilities: { sorts: { relevance: ['desc'], name: ['asc', 'desc'] }, formats: ['gguf', 'safetensors'], store: 'models_dir' },
    search: async (request, signal) => pageOf(matching(await client.read(signal), request), request),
    describe: async (ref, signal) => {
      const entry = await client.find(ref, signal);
      return { summary: summaryOf(entry), revision: revisionOf(entry), architecture: null, readmeMarkdown: null, files: entry.files.map(fileOf), securityStatus: null };
    },
    categories: () => Promise.resolve([{ id: category, name: 'Text generation' }]),
    locate: async (request, signal) => {
      const { url, sizeBytes } = await client.findFile(request, signal);
      return { url, headers: {}, etag: null, sizeBytes, revision: null, expiresAtMs: null, allowPrivate: true };
    },
    readRange: async (request, offset, length, signal) => {
      const { url, sizeBytes } = await client.findFile(request, signal);
      const end = Math.min(offset + length, sizeBytes);
      if (end <= offset) return new Uint8Array();
      const answer = await client.get(url, { headers: { range: `bytes=${offset}-${end - 1}` }, maxBytes: end - offset }, signal);
      if (answer.status !== 206) throw unavailable('does not answer range requests');
      return answer.body;
    },
  };
}

function unavailable(what: string, cause?: unknown): AppError {
  return new AppError('SOURCE_UNAVAILABLE', `${name} ${what}.`, { cause });
}

/** Changes with every byte of the files. */
function revisionOf(entry: Entry): string {
  return createHash('sha256').update(JSON.stringify(entry.files.map(({ path, sha256 }) => [path, sha256]))).digest('hex');
}

function fileOf({ path, sizeBytes, sha256 }: Entry['files'][number]): ModelFile {
  const format = path.endsWith('.gguf') ? 'gguf' : path.endsWith('.safetensors') ? 'safetensors' : 'other';
  return { path, sizeBytes, sha256: `sha256:${sha256}`, gitSha1: null, format, securityStatus: null };
}

function summaryOf(entry: Entry): ModelSummary {
  const formats = new Set(entry.files.map((file) => fileOf(file).format).filter((format) => format !== 'other'));
  return {
    id: `${id}:${entry.name}`,
    source: id,
    name: entry.name,
    author: entry.name.split('/')[0] ?? null,
    displayName: entry.name.split('/')[1] ?? entry.name,
    description: entry.description,
    category,
    tags: [],
    license: null,
    parameters: null,
    sizeBytes: entry.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
    formats: [...formats],
    quantizations: [],
    contextLength: null,
    downloads: null,
    likes: null,
    gated: false,
    createdAt: null,
    updatedAt: null,
    url: null,
  };
}

function matching(entries: readonly Entry[], request: SourceSearch): ModelSummary[] {
  const found = entries
    .map(summaryOf)
    .filter((model) => model.name.toLowerCase().includes(request.query.toLowerCase()))
    .filter((model) => request.category === undefined || model.category === request.category)
    .filter((model) => request.format === undefined || model.formats.includes(request.format))
    .sort((one, other) => (one.name < other.name ? -1 : 1));
  return request.sort === 'name' && request.order === 'desc' ? found.reverse() : found;
}

function pageOf(models: readonly ModelSummary[], { cursor = '0', limit }: SourceSearch): { items: ModelSummary[]; nextCursor: string | null; total: number } {
  if (!/^\d{1,9}$/.test(cursor)) throw new AppError('VALIDATION_FAILED', 'cursor: is not of this source');
  const end = Number(cursor) + limit;
  return { items: models.slice(Number(cursor), end), nextCursor: end < models.length ? String(end) : null, total: models.length };
}

export const indexSource = definePlugin({
  name: 'index-source',
  setup: (host) => {
    const url = process.env['MODEL_INDEX_URL'];
    if (url === undefined || !URL.canParse(url)) throw new Error('set MODEL_INDEX_URL to the address of the index');
    return { sources: [createIndexSource(host, url)] };
  },
});
