/** What the Hub double's routes share: repositories, tokens, addresses and the Hub's way to refuse. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Exchange } from './http-double.ts';
import type { Commit, Repo, RepoFile } from './repos.ts';
import { sendJson } from './send.ts';

/** `repos`: the private and gated repositories that the token opens; `all` opens each. */
export type TokenHolder = { name: string; repos: 'all' | readonly string[] };

export type HubState = {
  readonly repos: Map<string, Repo>;
  readonly tokens: Map<string, TokenHolder>;
  endpoint: string;
  cdnUrl: string;
  /** Blobs by SHA-256, for the CDN. */
  readonly blobs: Map<string, RepoFile>;
  readonly xet: boolean;
  readonly searchPageSize: number;
  readonly treePageSize: number;
  readonly urlStyle: 'cloudfront' | 's3';
  urlLifetimeSeconds: number;
  /** URLs signed up to this generation are refused. */
  urlGeneration: number;
  expiredGeneration: number;
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

const SIGNING_KEY = 'hub-double';
const sign = (text: string): string => createHmac('sha256', SIGNING_KEY).update(text).digest('hex');
const pad = (value: number, length = 2): string => String(value).padStart(length, '0');

function amzDate(date: Date): string {
  const day = `${date.getUTCFullYear()}${pad(date.getUTCMonth() + 1)}${pad(date.getUTCDate())}`;
  return `${day}T${pad(date.getUTCHours())}${pad(date.getUTCMinutes())}${pad(date.getUTCSeconds())}Z`;
}

/** The generation stands in the signature, so that one knob can end all addresses given out so far. */
export function signedUrl(state: HubState, sha256: string): string {
  state.urlGeneration += 1;
  const now = Date.now();
  const expires = Math.floor(now / 1000) + state.urlLifetimeSeconds;
  const signature = `${state.urlGeneration}.${sign(`${sha256} ${expires} ${state.urlGeneration}`)}`;
  const base = `${state.cdnUrl}/xet-bridge-us/${sha256}`;
  if (state.urlStyle === 'cloudfront') return `${base}?Expires=${expires}&Policy=e30_&Signature=${signature}&Key-Pair-Id=K0000000000000`;
  // Whole seconds: the two parts must add up to the signed moment again.
  const issued = amzDate(new Date((expires - state.urlLifetimeSeconds) * 1000));
  return `${base}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=${issued}&X-Amz-Expires=${state.urlLifetimeSeconds}&X-Amz-Signature=${signature}`;
}

function expiryOf(query: URLSearchParams): number {
  const direct = query.get('Expires');
  if (direct !== null) return Number(direct);
  const issued = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('X-Amz-Date') ?? '');
  if (!issued) return NaN;
  const [, year, month, day, hour, minute, second] = issued.map(Number);
  return Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second) / 1000 + Number(query.get('X-Amz-Expires'));
}

export function checkSignature(state: HubState, sha256: string, query: URLSearchParams): 'valid' | 'expired' | 'forged' {
  const [generation = '', signature = ''] = (query.get('Signature') ?? query.get('X-Amz-Signature') ?? '').split('.');
  const expires = expiryOf(query);
  const expected = Buffer.from(sign(`${sha256} ${expires} ${generation}`));
  const given = Buffer.from(signature);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return 'forged';
  return expires * 1000 <= Date.now() || Number(generation) <= state.expiredGeneration ? 'expired' : 'valid';
}
