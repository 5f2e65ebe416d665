/**
 * A small Hugging Face Hub on loopback that real clients accept: metadata and listings on `127.0.0.1`, bytes on a
 * second host name, because clients follow redirects within one host and stop at another one.
 */
import { randomUUID } from 'node:crypto';
import type { BlobStorage } from './blob-storage.ts';
import { expireUrls, startBlobStorage } from './blob-storage.ts';
import { describeRepo, readExpand } from './describe.ts';
import { Faults } from './faults.ts';
import { pathsInfo, raw, resolve, resolveCache, tree } from './files.ts';
import type { Exchange } from './http-double.ts';
import { startHttpDouble } from './http-double.ts';
import { RequestLog } from './log.ts';
import type { RateLimitOptions } from './rate-limits.ts';
import { createRateLimiter } from './rate-limits.ts';
import type { FileInput, Repo, RepoInput } from './repos.ts';
import { createRepo } from './repos.ts';
import { search } from './search.ts';
import { send, sendJson } from './send.ts';
import type { HubState, TokenHolder } from './state.ts';
import { HubError, openCommit, openRepo, sendError, whoIs } from './state.ts';

export type HubOptions = {
  port?: number;
  cdnPort?: number;
  repos?: readonly RepoInput[];
  tokens?: Readonly<Record<string, TokenHolder>>;
  /** Set small to force paging. */
  searchPageSize?: number;
  treePageSize?: number;
  /** Tell clients that files are in Xet too, as the Hub does. There is no Xet storage behind it. */
  xet?: boolean;
  urlStyle?: 'cloudfront' | 's3';
  urlLifetimeSeconds?: number;
  /** What one connection to the CDN gets. */
  cdnBytesPerSecond?: number;
  rateLimits?: RateLimitOptions;
};

export type Hub = {
  readonly endpoint: string;
  readonly cdnUrl: string;
  readonly faults: Faults;
  readonly requests: RequestLog;
  addRepo(input: RepoInput): HubRepo;
  removeRepo(id: string): void;
  /** All signed addresses given out so far answer 403 from now on. */
  expireUrls(): void;
  close(): Promise<void>;
};

export type HubRepo = {
  readonly id: string;
  /** Commit of `main`. */
  readonly sha: string;
  commit(files: readonly FileInput[], options?: Parameters<Repo['commit']>[1]): string;
};

/** Lazy in the second segment, so that a marker after a one-segment id is not taken for a name. */
const API_PATH = /^\/api\/models\/([^/]+(?:\/[^/]+)??)(?:\/(tree|revision|paths-info|xet-read-token)\/(.+))?$/;
const FILE_PATH = /^\/([^/]+(?:\/[^/]+)??)\/(resolve|raw)\/(.+)$/;
const CACHE_PATH = /^\/api\/resolve-cache\/models\/([^/]+(?:\/[^/]+)??)\/([0-9a-f]{40}\/.+)$/;

async function info(exchange: Exchange, repo: Repo, revision: string): Promise<void> {
  const { query } = exchange;
  const flags = { blobs: query.get('blobs') === 'true' || query.get('blobs') === 'True', security: /^true$/i.test(query.get('securityStatus') ?? '') };
  await sendJson(exchange, describeRepo(repo, openCommit(repo, revision), { expand: readExpand(query), kind: 'info', ...flags }));
}

async function xetToken(state: HubState, exchange: Exchange, repo: Repo): Promise<void> {
  openRepo(state, exchange, repo.id, 'bytes');
  const exp = Math.floor(Date.now() / 1000) + 900;
  const token = `xet_${randomUUID()}`;
  const headers = { 'x-xet-cas-url': state.storage.url, 'x-xet-access-token': token, 'x-xet-token-expiration': String(exp) };
  await sendJson(exchange, { accessToken: token, exp, casUrl: state.storage.url }, { headers });
}

async function movedTo(state: HubState, exchange: Exchange, id: string): Promise<boolean> {
  const current = [...state.repos.values()].find(({ info: { formerIds = [] } }) => formerIds.includes(id));
  if (!current || state.repos.has(id)) return false;
  await send(exchange, { status: 307, headers: { location: exchange.entry.path.replace(id, current.id) } });
  return true;
}

async function api(state: HubState, exchange: Exchange, match: RegExpExecArray): Promise<void> {
  const [, id = '', action, rest = ''] = match;
  if (/%2f/i.test(id)) throw new HubError(400, null, 'Invalid repo name');
  if (await movedTo(state, exchange, id)) return;
  const repo = openRepo(state, exchange, id, 'metadata');
  if (action === 'tree') await tree(state, exchange, repo, rest);
  else if (action === 'paths-info') await pathsInfo(exchange, repo, rest);
  else if (action === 'xet-read-token') await xetToken(state, exchange, repo);
  else await info(exchange, repo, action === 'revision' ? rest : 'main');
}

async function route(state: HubState, exchange: Exchange): Promise<void> {
  const { path } = exchange;
  if (path === '/api/models') return search(state, exchange);
  if (path === '/api/whoami-v2') return sendJson(exchange, { type: 'user', name: whoIs(state, exchange).name });
  const cached = CACHE_PATH.exec(path);
  if (cached) return resolveCache(state, exchange, cached[1] ?? '', cached[2] ?? '');
  const apiMatch = API_PATH.exec(path);
  if (apiMatch) return api(state, exchange, apiMatch);
  const [, id = '', action, rest = ''] = FILE_PATH.exec(path) ?? [];
  if (action === undefined || id.startsWith('api/')) throw new HubError(404, null, 'Sorry, we can\'t find the page you are looking for.');
  if (await movedTo(state, exchange, id)) return;
  await (action === 'raw' ? raw : resolve)(state, exchange, id, rest);
}

function indexBlobs(state: HubState, repo: Repo): void {
  for (const { files } of repo.commits.values()) {
    for (const file of files.values()) if (file.lfs) state.storage.blobs.set(file.lfs.oid, file.content);
  }
}

function createState(options: HubOptions, storage: BlobStorage): HubState {
  return {
    storage,
    repos: new Map(),
    tokens: new Map(Object.entries(options.tokens ?? {})),
    endpoint: '',
    xet: options.xet ?? true,
    searchPageSize: options.searchPageSize ?? 1000,
    treePageSize: options.treePageSize ?? 1000,
  };
}

function addRepo(state: HubState, input: RepoInput): HubRepo {
  const repo = createRepo(input);
  state.repos.set(repo.id, repo);
  indexBlobs(state, repo);
  return {
    id: repo.id,
    get sha() {
      return repo.refs.get('main') ?? '';
    },
    commit: (files, commitOptions) => {
      const sha = repo.commit(files, commitOptions);
      indexBlobs(state, repo);
      return sha;
    },
  };
}

function createHandler(state: HubState, limits: RateLimitOptions): (exchange: Exchange) => Promise<void> {
  const limiter = createRateLimiter(limits);
  return async (exchange) => {
    exchange.res.setHeader('x-request-id', `Root=1-${randomUUID()}`);
    if (!(await limiter.admit(exchange))) return;
    await route(state, exchange).catch(async (error: unknown) => {
      // Broken percent-encoding or JSON is the caller's fault.
      const refusal = error instanceof URIError || error instanceof SyntaxError ? new HubError(400, null, 'Bad Request') : error;
      if (!(refusal instanceof HubError)) throw refusal;
      await sendError(exchange, refusal);
    });
  };
}

export async function createHub(options: HubOptions = {}): Promise<Hub> {
  const faults = new Faults();
  const requests = new RequestLog();
  const { urlStyle = 'cloudfront', urlLifetimeSeconds = 3600 } = options;
  const { storage, server: cdn } = await startBlobStorage(
    { folder: 'xet-bridge-us', urlStyle, urlLifetimeSeconds },
    { log: requests, faults, port: options.cdnPort ?? 0, bytesPerSecond: options.cdnBytesPerSecond },
  );
  const state = createState(options, storage);
  const handle = createHandler(state, options.rateLimits ?? {});
  const hub = await startHttpDouble({ name: 'hub', log: requests, faults, port: options.port ?? 0, handle });
  state.endpoint = `http://127.0.0.1:${hub.port}`;
  for (const repo of options.repos ?? []) addRepo(state, repo);
  return {
    endpoint: state.endpoint,
    cdnUrl: storage.url,
    faults, requests,
    addRepo: (input) => addRepo(state, input),
    removeRepo: (id) => void state.repos.delete(id),
    expireUrls: () => expireUrls(storage),
    close: async () => {
      await Promise.all([hub.close(), cdn.close()]);
    },
  };
}
