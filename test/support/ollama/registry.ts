/**
 * An Ollama registry on loopback: manifests and blobs on `127.0.0.1`, the bytes behind a redirect to another host
 * name, which the real client demands.
 */
import { createHash } from 'node:crypto';
import type { BlobStorage } from '../hub/blob-storage.ts';
import { expireUrls, signedUrl, startBlobStorage } from '../hub/blob-storage.ts';
import type { Content } from '../hub/content.ts';
import { sha256Of, toContent } from '../hub/content.ts';
import { Faults } from '../hub/faults.ts';
import type { Exchange } from '../hub/http-double.ts';
import { startHttpDouble } from '../hub/http-double.ts';
import { RequestLog } from '../hub/log.ts';
import { send, sendJson } from '../hub/send.ts';

export const MANIFEST_TYPE = 'application/vnd.docker.distribution.manifest.v2+json';
const CONFIG_TYPE = 'application/vnd.docker.container.image.v1+json';
const LAYER_PREFIX = 'application/vnd.ollama.image.';
/** What the signed addresses of the real storage live. */
const URL_LIFETIME_SECONDS = 86_400;

export type LayerKind = 'model' | 'projector' | 'adapter' | 'template' | 'system' | 'params' | 'license' | 'messages' | 'json' | 'tensor' | 'draft';

export type RegistryModelInput = {
  /** `name` or `namespace/name`. */
  name: string;
  tag?: string;
  layers: readonly { kind: LayerKind; content: Content | Uint8Array | string; name?: string }[];
  config?: Record<string, unknown>;
  /** Answer 401 with the address of a token service, as for private models. */
  needsToken?: boolean;
};

export type ManifestLayer = { mediaType: string; digest: string; size: number; name?: string };
export type RegistryModel = {
  name: string;
  tag: string;
  /** SHA-256 of the manifest as it is served, bare hex. */
  digest: string;
  manifest: { schemaVersion: 2; mediaType: string; config: ManifestLayer; layers: ManifestLayer[] };
};

export type OllamaRegistryOptions = { port?: number; models?: readonly RegistryModelInput[]; urlLifetimeSeconds?: number; cdnBytesPerSecond?: number };

export type OllamaRegistry = {
  readonly endpoint: string;
  readonly cdnUrl: string;
  readonly faults: Faults;
  readonly requests: RequestLog;
  /** Adding a name and tag again is an update. */
  addModel(input: RegistryModelInput): RegistryModel;
  expireUrls(): void;
  close(): Promise<void>;
};

type Stored = RegistryModel & { body: string; needsToken: boolean };
type State = { models: Map<string, Stored>; storage: BlobStorage; endpoint: string };

const ROUTE = /^\/v2\/([^/]+\/[^/]+)\/(manifests|blobs)\/([^/]+)$/;

const fullName = (name: string): string => (name.includes('/') ? name : `library/${name}`);

function store(storage: BlobStorage, mediaType: string, source: Content | Uint8Array | string): ManifestLayer {
  const content = toContent(source);
  const sha256 = sha256Of(content);
  storage.blobs.set(sha256, content);
  return { mediaType, digest: `sha256:${sha256}`, size: content.size };
}

function addModel({ models, storage }: State, input: RegistryModelInput): RegistryModel {
  const { tag = 'latest', config = { model_format: 'gguf', model_family: 'llama', model_families: ['llama'], model_type: '135M', file_type: 'Q4_1', architecture: 'amd64', os: 'linux' } } = input;
  const layers = input.layers.map(({ kind, content, name }) => ({ ...store(storage, LAYER_PREFIX + kind, content), ...(name === undefined ? {} : { name }) }));
  const manifest = { schemaVersion: 2 as const, mediaType: MANIFEST_TYPE, config: store(storage, CONFIG_TYPE, JSON.stringify(config)), layers };
  const body = JSON.stringify(manifest);
  const model = { name: fullName(input.name), tag, digest: createHash('sha256').update(body).digest('hex'), manifest };
  models.set(`${model.name}:${tag}`, { ...model, body, needsToken: input.needsToken ?? false });
  return model;
}

async function refuse(exchange: Exchange, status: number, code: string, message: string): Promise<void> {
  await sendJson(exchange, { errors: [{ code, message }] }, { status });
}

async function challenge({ endpoint }: State, exchange: Exchange, name: string): Promise<void> {
  const header = `Bearer realm="${endpoint}/v2/token",service="${new URL(endpoint).host}",scope="repository:${name}:pull"`;
  await sendJson(exchange, { errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] }, { status: 401, headers: { 'www-authenticate': header } });
}

async function sendManifest(exchange: Exchange, model: Stored | undefined): Promise<void> {
  if (!model) return refuse(exchange, 404, 'MANIFEST_UNKNOWN', 'manifest unknown');
  if (!exchange.req.headers.accept?.includes(MANIFEST_TYPE)) return refuse(exchange, 406, 'MANIFEST_INVALID', 'manifest type is not acceptable');
  // Only HEAD carries the digest; a client that expects it on GET must fail here too.
  const digest = exchange.method === 'HEAD' ? { 'ollama-content-digest': model.digest } : {};
  await send(exchange, { headers: { 'content-type': 'text/plain; charset=utf-8', ...digest }, body: model.body });
}

async function sendBlob(state: State, exchange: Exchange, name: string, digest: string): Promise<void> {
  const sha256 = digest.replace(/^sha256:/, '');
  const content = state.storage.blobs.get(sha256);
  const belongs = [...state.models.values()].some((model) => model.name === name && [model.manifest.config, ...model.manifest.layers].some((layer) => layer.digest === digest));
  if (!content || !belongs) return refuse(exchange, 404, 'BLOB_UNKNOWN', 'blob unknown to registry');
  if (exchange.method === 'HEAD') return send(exchange, { headers: { 'content-type': 'application/octet-stream' }, body: content });
  await send(exchange, { status: 307, headers: { location: signedUrl(state.storage, sha256) } });
}

async function route(state: State, exchange: Exchange): Promise<void> {
  const [, name = '', kind, reference = ''] = ROUTE.exec(exchange.path) ?? [];
  // `/v2/`, tags/list and _catalog are missing in the real one as well.
  if (kind === undefined) return send(exchange, { status: 404, headers: { 'content-type': 'text/plain' }, body: '404 page not found' });
  if (exchange.method !== 'GET' && exchange.method !== 'HEAD') return refuse(exchange, 405, 'UNSUPPORTED', 'method not allowed');
  const isPrivate = [...state.models.values()].some((model) => model.name === name && model.needsToken);
  if (isPrivate && exchange.entry.authorization === null) return challenge(state, exchange, name);
  if (kind === 'manifests') return sendManifest(exchange, state.models.get(`${name}:${reference}`));
  await sendBlob(state, exchange, name, reference);
}

export async function createOllamaRegistry(options: OllamaRegistryOptions = {}): Promise<OllamaRegistry> {
  const faults = new Faults();
  const requests = new RequestLog();
  const { storage, server: cdn } = await startBlobStorage(
    { folder: 'docker/registry/v2/blobs/sha256', urlStyle: 's3', urlLifetimeSeconds: options.urlLifetimeSeconds ?? URL_LIFETIME_SECONDS },
    { log: requests, faults, bytesPerSecond: options.cdnBytesPerSecond },
  );
  const state: State = { models: new Map(), storage, endpoint: '' };
  const registry = await startHttpDouble({ name: 'registry', log: requests, faults, port: options.port ?? 0, handle: (exchange) => route(state, exchange) });
  state.endpoint = `http://127.0.0.1:${registry.port}`;
  for (const model of options.models ?? []) addModel(state, model);
  return {
    endpoint: state.endpoint,
    cdnUrl: storage.url,
    faults, requests,
    addModel: (input) => addModel(state, input),
    expireUrls: () => expireUrls(storage),
    close: async () => {
      await Promise.all([registry.close(), cdn.close()]);
    },
  };
}
