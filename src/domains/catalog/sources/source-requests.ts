import { BlockList, isIP } from 'node:net';
import { AppError, isAppError } from '../../../shared/errors.ts';
import type { OutgoingHttp, OutgoingRequest, OutgoingResponse } from '../../../shared/outgoing-http.ts';
import { withPrivateNetworks } from '../../../shared/private-networks.ts';

const retryAfterMaxSeconds = 3600;
const redirectsMax = 5;

/** `http` with its failures in the words of a `ModelSource`. */
export function createSourceHttp(http: OutgoingHttp, sourceName: string): OutgoingHttp {
  return async (request, signal) => {
    try {
      return await http(request, signal);
    } catch (error) {
      if (isAppError(error, 'TIMEOUT')) throw new AppError('TIMEOUT', `${sourceName} did not answer in time.`, { cause: error });
      if (isAppError(error, 'PAYLOAD_TOO_LARGE')) throw unavailable(sourceName, 'sent more than is read', { cause: error });
      if (isAppError(error, 'NETWORK_FAILED')) throw unavailable(sourceName, 'could not be reached', { cause: error });
      throw error;
    }
  };
}

export type UnavailableOptions = { internal?: string; cause?: unknown; retryAfterSeconds?: number | undefined };

/** `what` completes "<source> ...". */
export function unavailable(sourceName: string, what: string, { retryAfterSeconds, ...rest }: UnavailableOptions = {}): AppError {
  return new AppError('SOURCE_UNAVAILABLE', `${sourceName} ${what}.`, retryAfterSeconds === undefined ? rest : { ...rest, retryAfterSeconds });
}

function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/** Where a redirect points, or null when the answer is none. Throws SOURCE_UNAVAILABLE for what is no web address. */
export function redirectTarget(response: OutgoingResponse, from: string, sourceName: string): URL | null {
  if (!isRedirect(response.status)) return null;
  const location = response.headers['location'] ?? '';
  const target = location === '' ? null : URL.parse(location, from);
  if (!target || (target.protocol !== 'https:' && target.protocol !== 'http:')) throw unavailable(sourceName, 'sent a redirect that leads nowhere');
  if (target.username !== '' || target.password !== '') throw unavailable(sourceName, 'sent a redirect with credentials in it');
  if (target.protocol === 'http:' && new URL(from).protocol === 'https:') throw unavailable(sourceName, 'sent a redirect from https to http');
  return target;
}

/** Follows redirects while they stay on the request's own origin (renamed models); one that leaves it is refused. */
export async function sendWithinOrigin(http: OutgoingHttp, request: OutgoingRequest & { sourceName: string }, signal: AbortSignal): Promise<OutgoingResponse> {
  const { sourceName, ...first } = request;
  let { url } = first;
  for (let hop = 0; hop <= redirectsMax; hop += 1) {
    const response = await http({ ...first, url }, signal);
    const target = redirectTarget(response, url, sourceName);
    if (!target) return response;
    if (target.origin !== new URL(url).origin) throw unavailable(sourceName, 'sent a redirect to another host');
    url = target.href;
  }
  throw unavailable(sourceName, 'sent redirects without end');
}

export function bodyText(response: OutgoingResponse): string {
  return new TextDecoder().decode(response.body);
}

/** The body as JSON. Throws SOURCE_UNAVAILABLE when it is none. */
export function bodyJson(response: OutgoingResponse, sourceName: string): unknown {
  try {
    return JSON.parse(bodyText(response)) as unknown;
  } catch (cause) {
    throw unavailable(sourceName, 'sent an answer that cannot be read', { cause });
  }
}

function clampSeconds(seconds: number): number {
  return Math.min(retryAfterMaxSeconds, Math.max(1, Math.ceil(seconds)));
}

/** Seconds to wait as told by `RateLimit: "api";r=0;t=55` or by `Retry-After` (seconds or a date). */
export function retryAfterOf(headers: OutgoingResponse['headers'], nowMs: number): number | undefined {
  const window = /(?:^|[;,\s])t=(\d{1,6})/.exec(headers['ratelimit'] ?? '')?.[1];
  // The window ends within second t: one more, or the next request may still fall into it.
  if (window !== undefined) return clampSeconds(Number(window) + 1);
  const retryAfter = headers['retry-after']?.trim() ?? '';
  if (/^\d{1,9}$/.test(retryAfter)) return clampSeconds(Number(retryAfter));
  const date = retryAfter === '' ? Number.NaN : Date.parse(retryAfter);
  return Number.isNaN(date) ? undefined : clampSeconds((date - nowMs) / 1000);
}

/** Epoch milliseconds at which a signed address ends, read from its query; null when it does not say. */
export function expiryOf(url: URL): number | null {
  const query = new Map([...url.searchParams].map(([name, value]) => [name.toLowerCase(), value]));
  const expires = query.get('expires') ?? '';
  if (/^\d{9,11}$/.test(expires)) return Number(expires) * 1000;
  const seconds = query.get('x-amz-expires') ?? '';
  const stamp = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('x-amz-date') ?? '');
  if (!stamp || !/^\d{1,7}$/.test(seconds)) return null;
  const [, year = '', month = '', day = '', hour = '', minute = '', second = ''] = stamp;
  const signedAt = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(signedAt) ? null : signedAt + Number(seconds) * 1000;
}

/** An address whose query carries a signature: asking it with another method than it was signed for would fail. */
export function isSigned(url: URL): boolean {
  return [...url.searchParams.keys()].some((name) => /^(?:x-amz-signature|signature|sig|policy)$/i.test(name));
}

const privateNetworks = withPrivateNetworks(new BlockList());

/** Loopback and private addresses by their spelling: an endpoint that the operator has put there may redirect there. */
export function isPrivateHost(hostname: string): boolean {
  const host = hostname.toLowerCase().replace(/^\[|\]$/g, '');
  const family = isIP(host);
  if (family !== 0) return privateNetworks.check(host, family === 6 ? 'ipv6' : 'ipv4');
  return !host.includes('.') || /\.(?:localhost|local|internal|lan|home\.arpa)$/.test(host);
}

/** Base address without trailing slash, user name and password. Throws when it is no web address: configuration is checked before. */
export function normalizeEndpoint(endpoint: string): string {
  const url = new URL(endpoint);
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw new TypeError('an endpoint must be an http or https address');
  return `${url.origin}${url.pathname.replace(/\/+$/, '')}`;
}

export function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/');
}
