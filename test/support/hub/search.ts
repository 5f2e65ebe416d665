/** `GET /api/models`: which repositories, in which order, one page at a time. */
import { describeRepo, readExpand } from './describe.ts';
import type { Exchange } from './http-double.ts';
import { pageOf } from './paging.ts';
import type { Repo } from './repos.ts';
import { sendJson } from './send.ts';
import type { HubState } from './state.ts';
import { canList, HubError } from './state.ts';

const SORT_KEYS: Record<string, (repo: Repo) => number | string> = {
  createdAt: ({ info }) => info.createdAt ?? '',
  downloads: ({ info }) => info.downloads ?? 0,
  likes: ({ info }) => info.likes ?? 0,
  likes30d: ({ info }) => info.likes30d ?? 0,
  trendingScore: ({ info }) => info.trendingScore ?? 0,
  lastModified: (repo) => repo.find('main')?.date ?? '',
  num_parameters: (repo) => parameterCount(repo) ?? 0,
  mainSize: (repo) => Math.max(0, ...[...(repo.find('main')?.files.values() ?? [])].map(({ size }) => size)),
  id: ({ id }) => id,
};
const UNITS: Record<string, number> = { '': 1, K: 1e3, M: 1e6, B: 1e9, T: 1e12 };
/** The Hub caps what a caller may ask for. */
const MAX_LIMIT = 1000;

function parameterCount({ info }: Repo): number | undefined {
  const ggufTotal = info.gguf?.['total'];
  return info.safetensors?.total ?? (typeof ggufTotal === 'number' ? ggufTotal : undefined);
}

function readBound(text: string, name: 'min' | 'max'): number | undefined {
  const match = new RegExp(`${name}:([\\d.]+)([KMBT]?)`).exec(text);
  return match ? Number(match[1]) * (UNITS[match[2] ?? ''] ?? 1) : undefined;
}

function hasParameters(repo: Repo, range: string): boolean {
  const count = parameterCount(repo);
  return count !== undefined && count >= (readBound(range, 'min') ?? 0) && count <= (readBound(range, 'max') ?? Infinity);
}

/** `library` is left out on purpose: the JSON API ignores it, and so must the double. */
function matches(repo: Repo, query: URLSearchParams): boolean {
  const { info, id, tags } = repo;
  const wanted = query.getAll('filter').flatMap((value) => value.split(','));
  const gated = query.get('gated');
  return (
    id.toLowerCase().includes((query.get('search') ?? '').toLowerCase()) &&
    (query.get('author') ?? id.split('/')[0]) === id.split('/')[0] &&
    wanted.every((tag) => tags.includes(tag)) &&
    (query.get('pipeline_tag') ?? info.pipelineTag) === info.pipelineTag &&
    (gated === null || String(Boolean(info.gated)) === gated) &&
    (!query.has('apps') || tags.includes('gguf')) &&
    (!query.has('num_parameters') || hasParameters(repo, query.get('num_parameters') ?? ''))
  );
}

export async function search(state: HubState, exchange: Exchange): Promise<void> {
  const { query } = exchange;
  const sort = query.get('sort') ?? 'trendingScore';
  const keyOf = SORT_KEYS[sort];
  if (!keyOf) throw new HubError(400, null, `"sort" must be one of [${Object.keys(SORT_KEYS).join(', ')}]`);
  const limit = Number(query.get('limit') ?? MAX_LIMIT);
  if (!Number.isInteger(limit) || limit < 1) throw new HubError(400, null, '"limit" must be a positive number');
  const expand = readExpand(query);
  const found = [...state.repos.values()].filter((repo) => canList(state, exchange, repo) && matches(repo, query));
  // Descending whatever the caller asks for; equal keys keep a fixed order so that pages do not overlap.
  found.sort((a, b) => (keyOf(a) === keyOf(b) ? a.id.localeCompare(b.id) : keyOf(a) < keyOf(b) ? 1 : -1));
  const { items, headers } = pageOf(state, exchange, found, Math.min(limit, MAX_LIMIT, state.searchPageSize));
  const described = items.flatMap((repo) => {
    const commit = repo.find('main');
    const full = query.has('full') && query.get('full') !== 'false';
    return commit ? [describeRepo(repo, commit, { expand, kind: 'list', full })] : [];
  });
  await sendJson(exchange, described, { headers });
}
