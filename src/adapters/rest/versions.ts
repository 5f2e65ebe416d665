import { AppError } from '../../shared/errors.ts';

/** A version of the REST interface. A retired one goes on answering until its sunset, and says so. */
export type ApiVersion = {
  /** When its end was announced; null while it is current. */
  deprecatedAt: Date | null;
  /** After this it is removed from the table. */
  sunsetAt: Date | null;
};

export type ApiVersions = Readonly<Record<string, ApiVersion>>;

export const currentVersion = '1';
export const apiVersions: ApiVersions = { '1': { deprecatedAt: null, sunsetAt: null } };

const versionPattern = /^\/api\/v(\d[^/]*)(\/.*|$)/;

/** `/api/v1/models/search` and `/api/models/search` alike are `{version: '1', path: '/models/search'}`. */
export function parseVersion(pathname: string, versions: ApiVersions): { version: string; path: string } {
  const match = versionPattern.exec(pathname);
  if (!match) return { version: currentVersion, path: pathname.slice('/api'.length) };
  const [, version = '', path = ''] = match;
  if (!Object.hasOwn(versions, version)) {
    throw new AppError('UNKNOWN_API_VERSION', `There is no version ${version} of this interface.`, { details: { versions: Object.keys(versions) } });
  }
  return { version, path };
}

/** `Deprecation` as RFC 9745 (a date as `@seconds`), `Sunset` as RFC 8594 (an HTTP date). */
export function versionHeaders(version: string, versions: ApiVersions): Record<string, string> {
  const entry = versions[version];
  return {
    'api-version': version,
    ...(entry?.deprecatedAt && { deprecation: `@${Math.floor(entry.deprecatedAt.getTime() / 1000)}` }),
    ...(entry?.sunsetAt && { sunset: entry.sunsetAt.toUTCString() }),
  };
}
