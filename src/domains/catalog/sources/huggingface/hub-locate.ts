import type { OutgoingHttp, OutgoingResponse } from '../../../../shared/outgoing-http.ts';
import type { FileLocation, FileRequest } from '../../source.ts';
import { encodePath, expiryOf, isPrivateHost, isSigned, redirectTarget, unavailable } from '../source-requests.ts';
import type { HubClient } from './hub-client.ts';
import { hubName, toHubError } from './hub-errors.ts';

const hopsMax = 10;
/** Error bodies, and the one byte of a probe. */
const probeBytesMax = 16 * 1024;

export type HubLocateOptions = {
  http: OutgoingHttp;
  client: HubClient;
  /** May redirects lead to private addresses. */
  allowPrivate: boolean;
};

type Facts = Pick<FileLocation, 'etag' | 'sizeBytes' | 'revision'>;

function tagOf(header: string | undefined): string | null {
  const tag = (header ?? '').replace(/^W\//, '').replace(/^"|"$/g, '');
  return tag === '' ? null : tag.slice(0, 200);
}

function sizeIn(header: string | undefined): number | null {
  const size = Number(header ?? '');
  return header !== undefined && /^\d{1,16}$/.test(header) && Number.isSafeInteger(size) ? size : null;
}

/** What the Hub itself says of the file; the hosts behind it are not asked. */
function factsOf({ headers, status }: OutgoingResponse, before: Facts): Facts {
  const isFile = status === 200;
  return {
    etag: before.etag ?? tagOf(headers['x-linked-etag']) ?? (isFile ? tagOf(headers['etag']) : null),
    sizeBytes: before.sizeBytes ?? sizeIn(headers['x-linked-size']) ?? (isFile ? sizeIn(headers['content-length']) : null),
    revision: before.revision ?? headers['x-repo-commit'] ?? null,
  };
}

function locationAt(url: URL, { headers, allowPrivate }: Pick<FileLocation, 'headers' | 'allowPrivate'>, facts: Facts): FileLocation {
  return { url: url.href, headers, ...facts, expiresAtMs: expiryOf(url), allowPrivate };
}

/**
 * Follows `resolve` by hand: credentials go to the endpoint's origin only, relative redirects stay there, and a
 * signed address is handed on unasked, because it may be signed for GET alone.
 */
export async function locateHubFile(file: FileRequest, options: HubLocateOptions, signal: AbortSignal): Promise<FileLocation> {
  const { client, http } = options;
  const { ref, revision, path } = file;
  const origin = new URL(client.endpoint).origin;
  const allowPrivate = options.allowPrivate || isPrivateHost(new URL(client.endpoint).hostname);
  let url = new URL(`${client.endpoint}/${ref.name}/resolve/${encodeURIComponent(revision)}/${encodePath(path)}`);
  let facts: Facts = { etag: null, sizeBytes: null, revision: null };
  for (let hop = 0; hop <= hopsMax; hop += 1) {
    const atHome = url.origin === origin;
    if (!atHome && (isSigned(url) || expiryOf(url) !== null)) return locationAt(url, { headers: {}, allowPrivate }, facts);
    const headers = { 'accept-encoding': 'identity', ...(atHome ? client.authorization() : { range: 'bytes=0-0' }) };
    const request = { method: atHome ? 'HEAD' : 'GET', url: url.href, headers, maxBytes: probeBytesMax, overflow: 'truncate' } as const;
    const response = await http({ ...request, allowPrivate: atHome || allowPrivate }, signal);
    const target = redirectTarget(response, url.href, hubName);
    if (atHome) facts = factsOf(response, facts);
    if (!target) {
      if (response.status === 200 || response.status === 206) {
        return locationAt(url, { headers: atHome ? client.authorization() : {}, allowPrivate: atHome || allowPrivate }, facts);
      }
      if (atHome) throw toHubError(response, client.subject(ref.name, { revision, path }));
      throw unavailable(hubName, `sent us to a storage that answered with HTTP ${response.status}`);
    }
    url = target;
  }
  throw unavailable(hubName, 'sent redirects without end');
}
