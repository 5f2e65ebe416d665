import type { IncomingHttpHeaders } from 'node:http';

const bearerPattern = /^Bearer +([\x21-\x7e]+)$/i;

/** The key of `Authorization: Bearer` or `X-API-Key`; null when there is none. Keys in URLs are never read. */
export function credentialOf(headers: IncomingHttpHeaders): string | null {
  if (headers.authorization !== undefined) return bearerKey(headers.authorization);
  const apiKey = headers['x-api-key'];
  return typeof apiKey === 'string' && apiKey !== '' ? apiKey : null;
}

/** The key of a `Bearer <key>` text; null when it is not one. */
export function bearerKey(authorization: string): string | null {
  return bearerPattern.exec(authorization.trim())?.[1] ?? null;
}

const urlKeyNames = ['key', 'api_key', 'apikey', 'api-key', 'access_token', 'token', 'authorization'];

/** Whether somebody put a key into the URL, where logs and histories would keep it. */
export function hasCredentialInUrl(url: URL): boolean {
  return url.username !== '' || url.password !== '' || [...url.searchParams.keys()].some((name) => urlKeyNames.includes(name.toLowerCase()));
}
