/** Routes about the files of a repository: listings, and `resolve` and `raw` for the bytes. */
import { signedUrl } from './blob-storage.ts';
import { describeEntry } from './describe.ts';
import { findFault } from './faults.ts';
import type { Exchange } from './http-double.ts';
import { pageOf } from './paging.ts';
import type { Commit, Repo, RepoFile } from './repos.ts';
import { listTree } from './repos.ts';
import { readBody, send, sendJson } from './send.ts';
import type { HubState } from './state.ts';
import { HubError, openCommit, openRepo } from './state.ts';

const XET_INFO_TYPE = 'application/vnd.xet-fileinfo+json';

function splitRevision(rest: string): { revision: string; path: string } {
  const slash = rest.indexOf('/');
  return slash < 0 ? { revision: rest, path: '' } : { revision: rest.slice(0, slash), path: decodeURIComponent(rest.slice(slash + 1)) };
}

const isTrue = (value: string | null): boolean => value !== null && /^(true|1)$/i.test(value);

export async function tree(state: HubState, exchange: Exchange, repo: Repo, rest: string): Promise<void> {
  const { revision, path } = splitRevision(rest);
  const commit = openCommit(repo, revision);
  const entries = listTree(commit, path.replace(/\/$/, ''), isTrue(exchange.query.get('recursive')));
  if (!entries) throw new HubError(404, 'EntryNotFound', `${path} does not exist on "${decodeURIComponent(revision)}"`);
  const expand = isTrue(exchange.query.get('expand'));
  const asked = Number(exchange.query.get('limit') ?? Infinity);
  const { items, headers } = pageOf(state, exchange, entries, Math.max(1, Math.min(asked, state.treePageSize)));
  const described = items.map((entry) => describeEntry(entry, commit, expand));
  await sendJson(exchange, described, { headers: { ...headers, 'x-repo-commit': commit.sha } });
}

export async function pathsInfo(exchange: Exchange, repo: Repo, rest: string): Promise<void> {
  const commit = openCommit(repo, rest);
  const text = (await readBody(exchange)).toString();
  const isForm = exchange.req.headers['content-type']?.includes('x-www-form-urlencoded') ?? false;
  let paths: unknown;
  let expand: boolean;
  if (isForm) {
    const form = new URLSearchParams(text);
    paths = form.getAll('paths');
    expand = isTrue(form.get('expand'));
  } else {
    const body = JSON.parse(text) as { paths?: unknown; expand?: unknown };
    paths = typeof body.paths === 'string' ? [body.paths] : body.paths;
    expand = body.expand === true;
  }
  if (!Array.isArray(paths)) throw new HubError(400, null, '"paths" is required');
  const all = listTree(commit, '', true) ?? [];
  const found = all.filter((entry) => paths.includes(entry.type === 'file' ? entry.file.path : entry.path));
  await sendJson(exchange, found.map((entry) => describeEntry(entry, commit, expand)));
}

function openFile(state: HubState, exchange: Exchange, id: string, rest: string): { repo: Repo; commit: Commit; file: RepoFile } {
  const repo = openRepo(state, exchange, id, 'bytes');
  const { revision, path } = splitRevision(rest);
  const commit = openCommit(repo, revision);
  const file = commit.files.get(path);
  if (!file) throw new HubError(404, 'EntryNotFound', 'Entry not found');
  return { repo, commit, file };
}

function xetHeaders(state: HubState, repo: Repo, commit: Commit, file: RepoFile): Record<string, string> {
  if (!state.xet || file.xetHash === null) return {};
  const auth = `<${state.endpoint}/api/models/${repo.id}/xet-read-token/${commit.sha}>; rel="xet-auth"`;
  return { 'x-xet-hash': file.xetHash, link: `${auth}, <${state.storage.url}/v1/reconstructions/${file.xetHash}>; rel="xet-reconstruction-info"` };
}

async function redirect(exchange: Exchange, status: number, headers: Record<string, string>): Promise<void> {
  const body = `${status === 302 ? 'Found' : 'Temporary Redirect'}. Redirecting to ${headers['location'] ?? ''}`;
  await send(exchange, { status, headers: { 'content-type': 'text/plain; charset=utf-8', ...headers }, body });
}

const encodePath = (path: string): string => path.split('/').map(encodeURIComponent).join('/');

export async function resolve(state: HubState, exchange: Exchange, id: string, rest: string): Promise<void> {
  const { repo, commit, file } = openFile(state, exchange, id, rest);
  const changed = findFault(exchange.faults, 'etag')?.value;
  if (!file.lfs) {
    const query = `etag=${encodeURIComponent(`"${file.oid}"`)}`;
    const location = `/api/resolve-cache/models/${repo.id}/${commit.sha}/${encodePath(file.path)}?${query}`;
    await redirect(exchange, 307, { location, 'x-repo-commit': commit.sha, 'x-linked-etag': changed ?? `"${file.oid}"`, 'x-linked-size': String(file.size), 'accept-ranges': 'bytes' });
    return;
  }
  const headers = {
    'x-repo-commit': commit.sha,
    'x-linked-etag': changed ?? `"${file.lfs.oid}"`,
    'x-linked-size': String(file.size),
    'accept-ranges': 'bytes',
    ...xetHeaders(state, repo, commit, file),
  };
  if (state.xet && exchange.req.headers.accept?.includes(XET_INFO_TYPE)) {
    const body = JSON.stringify({ hash: file.xetHash, size: file.size, etag: `"${file.lfs.oid}"` });
    await send(exchange, { headers: { ...headers, 'content-type': `${XET_INFO_TYPE}; charset=utf-8` }, body });
    return;
  }
  await redirect(exchange, 302, { ...headers, location: signedUrl(state.storage, file.lfs.oid) });
}

/** Where the redirect of small files leads; `rest` starts with the commit. */
export async function resolveCache(state: HubState, exchange: Exchange, id: string, rest: string): Promise<void> {
  const { commit, file } = openFile(state, exchange, id, rest);
  const etag = `"${file.oid}"`;
  const headers = { etag, 'x-repo-commit': commit.sha, 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-cache' };
  if (exchange.req.headers['if-none-match'] === etag) {
    await send(exchange, { status: 304, headers });
    return;
  }
  await send(exchange, { headers, body: file.content, ranges: true });
}

/** The bytes that git holds: of a file in LFS, its pointer. */
export async function raw(state: HubState, exchange: Exchange, id: string, rest: string): Promise<void> {
  const { commit, file } = openFile(state, exchange, id, rest);
  const headers = { etag: `"${file.oid}"`, 'x-repo-commit': commit.sha, 'content-type': 'text/plain; charset=utf-8' };
  await send(exchange, { headers, body: file.pointer ?? file.content, ranges: true });
}
