/** What the Hub double's routes share: repositories, tokens, addresses and the Hub's way to refuse. */
import type { BlobStorage } from './blob-storage.ts';
import type { Exchange } from './http-double.ts';
import type { Commit, Repo } from './repos.ts';
import { sendJson } from './send.ts';

/** `repos`: the private and gated repositories that the token opens; `all` opens each. */
export type TokenHolder = { name: string; repos: 'all' | readonly string[] };

export type HubState = {
  readonly storage: BlobStorage;
  readonly repos: Map<string, Repo>;
  readonly tokens: Map<string, TokenHolder>;
  endpoint: string;
  readonly xet: boolean;
  readonly searchPageSize: number;
  readonly treePageSize: number;
};

export class HubError extends Error {
  readonly status: number;
  readonly code: string | null;

  constructor(status: number, code: string | null, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export async function sendError(exchange: Exchange, { status, code, message }: HubError): Promise<void> {
  const headers = { 'x-error-message': message, ...(code === null ? {} : { 'x-error-code': code }) };
  await sendJson(exchange, { error: message }, { status, headers });
}

function readToken(state: HubState, exchange: Exchange): TokenHolder | null {
  const header = exchange.entry.authorization;
  if (header === null) return null;
  const holder = state.tokens.get(header.replace(/^Bearer /, ''));
  if (!holder) throw new HubError(401, null, 'Invalid credentials in Authorization header');
  return holder;
}

const opens = (holder: TokenHolder | null, id: string): boolean => holder !== null && (holder.repos === 'all' || holder.repos.includes(id));

/** Anonymous callers cannot tell a missing repository from a private one: both answer 401. */
export function openRepo(state: HubState, exchange: Exchange, id: string, need: 'metadata' | 'bytes'): Repo {
  const holder = readToken(state, exchange);
  const repo = state.repos.get(id);
  if (!repo || (repo.info.private && !opens(holder, id))) {
    throw holder ? new HubError(404, 'RepoNotFound', 'Repository not found') : new HubError(401, 'RepoNotFound', 'Invalid username or password.');
  }
  if (repo.info.disabled) throw new HubError(403, null, 'Access to this resource is disabled.');
  if (need === 'bytes' && repo.info.gated && !opens(holder, id)) {
    throw holder
      ? new HubError(403, 'GatedRepo', `Access to model ${id} is restricted and you are not in the authorized list. Visit ${state.endpoint}/${id} to ask for access.`)
      : new HubError(401, 'GatedRepo', `Access to model ${id} is restricted. You must have access to it and be authenticated to access it. Please log in.`);
  }
  return repo;
}

/** What listings show to this caller. */
export function canList(state: HubState, exchange: Exchange, repo: Repo): boolean {
  return !repo.info.disabled && (!repo.info.private || opens(readToken(state, exchange), repo.id));
}

export function whoIs(state: HubState, exchange: Exchange): TokenHolder {
  const holder = readToken(state, exchange);
  if (!holder) throw new HubError(401, null, 'Invalid username or password.');
  return holder;
}

export function openCommit(repo: Repo, encodedRevision: string): Commit {
  const revision = decodeURIComponent(encodedRevision);
  const commit = repo.find(revision);
  if (!commit) throw new HubError(404, 'RevisionNotFound', `Invalid rev id: ${revision}`);
  return commit;
}
