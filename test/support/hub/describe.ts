/** The JSON that the Hub gives of a repository and its files. */
import { createHash } from 'node:crypto';
import type { Commit, Repo, RepoFile, TreeEntry } from './repos.ts';
import { HubError } from './state.ts';

const EXPANDABLE = [
  'author', 'baseModels', 'cardData', 'childrenModelCount', 'config', 'createdAt', 'disabled', 'downloads', 'downloadsAllTime', 'evalResults',
  'gated', 'gguf', 'inference', 'inferenceProviderMapping', 'lastModified', 'library_name', 'likes', 'mask_token', 'model-index', 'pipeline_tag',
  'private', 'resourceGroup', 'safetensors', 'sha', 'siblings', 'spaces', 'tags', 'transformersInfo', 'trendingScore', 'usedStorage', 'widgetData',
];
/** What a search answers without `full` and `expand`. */
const LIST_FIELDS = ['likes', 'private', 'downloads', 'tags', 'pipeline_tag', 'library_name', 'createdAt'];
const FULL_FIELDS = [...LIST_FIELDS, 'author', 'gated', 'disabled', 'lastModified', 'sha', 'siblings'];
const INFO_FIELDS = [...FULL_FIELDS, 'gguf', 'safetensors', 'config', 'cardData', 'usedStorage', 'spaces', 'model-index', 'widgetData', 'transformersInfo'];
const DEFAULT_DATE = '2026-01-01T00:00:00.000Z';

function sibling(file: RepoFile, withBlobs: boolean): Record<string, unknown> {
  if (!withBlobs) return { rfilename: file.path };
  const lfs = file.lfs ? { lfs: { sha256: file.lfs.oid, size: file.lfs.size, pointerSize: file.lfs.pointerSize } } : {};
  return { rfilename: file.path, size: file.size, blobId: file.oid, ...lfs };
}

function allFields({ info, id, tags }: Repo, commit: Commit, withBlobs: boolean): Record<string, unknown> {
  const files = [...commit.files.values()];
  return {
    author: id.includes('/') ? id.split('/')[0] : undefined,
    cardData: info.cardData ?? {},
    config: info.config ?? {},
    createdAt: info.createdAt ?? DEFAULT_DATE,
    disabled: info.disabled ?? false,
    downloads: info.downloads ?? 0,
    downloadsAllTime: (info.downloads ?? 0) * 10,
    gated: info.gated ?? false,
    gguf: info.gguf,
    lastModified: commit.date,
    library_name: info.libraryName,
    likes: info.likes ?? 0,
    'model-index': null,
    pipeline_tag: info.pipelineTag,
    private: info.private ?? false,
    safetensors: info.safetensors,
    sha: commit.sha,
    siblings: files.map((file) => sibling(file, withBlobs)),
    spaces: [],
    tags,
    trendingScore: info.trendingScore ?? 0,
    usedStorage: files.reduce((sum, { size }) => sum + size, 0),
  };
}

export type Describe = { expand: readonly string[]; kind: 'list' | 'info'; full?: boolean; blobs?: boolean; security?: boolean };

export function readExpand(query: URLSearchParams): string[] {
  const expand = [...query.getAll('expand'), ...query.getAll('expand[]')];
  const unknown = expand.find((name) => !EXPANDABLE.includes(name));
  if (unknown !== undefined) throw new HubError(400, null, `"expand" must be one of [${EXPANDABLE.join(', ')}], got ${unknown}`);
  if (expand.length > 0 && ['full', 'cardData', 'config'].some((name) => query.has(name))) {
    throw new HubError(400, null, '"expand" conflicts with "full", "cardData" and "config"');
  }
  return expand;
}

function repoSecurity(commit: Commit): Record<string, unknown> {
  const issues = [...commit.files.values()]
    .map(({ path, security }) => ({ path, level: security['status'] }))
    .filter(({ level }) => level === 'unsafe' || level === 'suspicious' || level === 'caution');
  return { scansDone: [...commit.files.values()].every(({ security }) => security['status'] !== 'queued'), filesWithIssues: issues };
}

/** With `expand` only the named properties come back, beside the ids. */
export function describeRepo(repo: Repo, commit: Commit, { expand, kind, full, blobs = false, security = false }: Describe): Record<string, unknown> {
  const names = expand.length > 0 ? expand : kind === 'info' ? INFO_FIELDS : full ? FULL_FIELDS : LIST_FIELDS;
  const fields = allFields(repo, commit, blobs);
  return {
    _id: createHash('md5').update(repo.id).digest('hex').slice(0, 24),
    id: repo.id,
    ...(expand.length > 0 ? {} : { modelId: repo.id }),
    ...Object.fromEntries(names.map((name) => [name, fields[name]])),
    ...(security ? { securityRepoStatus: repoSecurity(commit) } : {}),
  };
}

export function describeEntry(entry: TreeEntry, commit: Commit, expand: boolean): Record<string, unknown> {
  const lastCommit = { id: commit.sha, title: commit.title, date: commit.date };
  if (entry.type === 'directory') {
    return { type: 'directory', oid: entry.oid, size: 0, path: entry.path, ...(expand ? { lastCommit } : {}) };
  }
  const { file } = entry;
  return {
    type: 'file', oid: file.oid, size: file.size, path: file.path,
    ...(file.lfs ? { lfs: file.lfs } : {}),
    ...(file.xetHash === null ? {} : { xetHash: file.xetHash }),
    ...(expand ? { lastCommit, securityFileStatus: file.security } : {}),
  };
}
