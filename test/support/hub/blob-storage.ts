/** The storage host behind signed addresses: plain bytes, ranges, no tokens. */
import { createHmac, timingSafeEqual } from 'node:crypto';
import type { Content } from './content.ts';
import { findFault } from './faults.ts';
import type { Exchange, HttpDouble, HttpDoubleOptions } from './http-double.ts';
import { startHttpDouble } from './http-double.ts';
import { send } from './send.ts';

export type BlobStorageOptions = { folder: string; urlStyle: 'cloudfront' | 's3'; urlLifetimeSeconds: number };

export type BlobStorage = BlobStorageOptions & {
  /** Set once the server listens: another host name than the double's own. */
  url: string;
  /** By SHA-256. */
  readonly blobs: Map<string, Content>;
  urlGeneration: number;
  /** Addresses signed up to this generation are refused. */
  expiredGeneration: number;
};

const SIGNING_KEY = 'double';
const sign = (text: string): string => createHmac('sha256', SIGNING_KEY).update(text).digest('hex');
const pad = (value: number, length = 2): string => String(value).padStart(length, '0');

function amzDate(date: Date): string {
  const day = `${date.getUTCFullYear()}${pad(date.getUTCMonth() + 1)}${pad(date.getUTCDate())}`;
  return `${day}T${pad(date.getUTCHours())}${pad(date.getUTCMinutes())}${pad(date.getUTCSeconds())}Z`;
}

/** The generation stands in the signature, so that one knob can end all addresses given out so far. */
export function signedUrl(storage: BlobStorage, sha256: string): string {
  storage.urlGeneration += 1;
  const now = Date.now();
  const expires = Math.floor(now / 1000) + storage.urlLifetimeSeconds;
  const signature = `${storage.urlGeneration}.${sign(`${sha256} ${expires} ${storage.urlGeneration}`)}`;
  const base = `${storage.url}/${storage.folder}/${sha256}`;
  if (storage.urlStyle === 'cloudfront') return `${base}?Expires=${expires}&Policy=e30_&Signature=${signature}&Key-Pair-Id=K0000000000000`;
  // Whole seconds: the two parts must add up to the signed moment again.
  const issued = amzDate(new Date((expires - storage.urlLifetimeSeconds) * 1000));
  return `${base}?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=${issued}&X-Amz-Expires=${storage.urlLifetimeSeconds}&X-Amz-Signature=${signature}`;
}

function expiryOf(query: URLSearchParams): number {
  const direct = query.get('Expires');
  if (direct !== null) return Number(direct);
  const issued = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(query.get('X-Amz-Date') ?? '');
  if (!issued) return NaN;
  const [, year, month, day, hour, minute, second] = issued.map(Number);
  return Date.UTC(year ?? 0, (month ?? 0) - 1, day, hour, minute, second) / 1000 + Number(query.get('X-Amz-Expires'));
}

function checkSignature(storage: BlobStorage, sha256: string, query: URLSearchParams): 'valid' | 'expired' | 'forged' {
  const [generation = '', signature = ''] = (query.get('Signature') ?? query.get('X-Amz-Signature') ?? '').split('.');
  const expires = expiryOf(query);
  const expected = Buffer.from(sign(`${sha256} ${expires} ${generation}`));
  const given = Buffer.from(signature);
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return 'forged';
  return expires * 1000 <= Date.now() || Number(generation) <= storage.expiredGeneration ? 'expired' : 'valid';
}

async function refuse(exchange: Exchange, status: number, code: string, message: string): Promise<void> {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  await send(exchange, { status, headers: { 'content-type': 'application/xml' }, body });
}

async function serveBlob(storage: BlobStorage, exchange: Exchange): Promise<void> {
  const { path, query, method } = exchange;
  const sha256 = /^\/.+\/([0-9a-f]{64})$/.exec(path)?.[1];
  const content = sha256 === undefined ? undefined : storage.blobs.get(sha256);
  if (method !== 'GET' && method !== 'HEAD') return refuse(exchange, 405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
  if (sha256 === undefined || !content) return refuse(exchange, 404, 'NoSuchKey', 'The specified key does not exist.');
  // A signed address and a token exclude each other at the storage; a client that sends both leaks the token.
  if (exchange.entry.authorization !== null) return refuse(exchange, 400, 'InvalidArgument', 'Only one auth mechanism allowed.');
  const verdict = findFault(exchange.faults, 'expire') ? 'expired' : checkSignature(storage, sha256, query);
  if (verdict === 'expired') return refuse(exchange, 403, 'AccessDenied', 'Request has expired');
  if (verdict === 'forged') return refuse(exchange, 403, 'SignatureDoesNotMatch', 'The signature does not match.');
  await send(exchange, { headers: { 'content-type': 'application/octet-stream', etag: `"${sha256}"` }, body: content, ranges: true });
}

export async function startBlobStorage(options: BlobStorageOptions, server: Omit<HttpDoubleOptions, 'name' | 'handle'>): Promise<{ storage: BlobStorage; server: HttpDouble }> {
  const storage: BlobStorage = { ...options, url: '', blobs: new Map(), urlGeneration: 0, expiredGeneration: 0 };
  const started = await startHttpDouble({ ...server, name: 'cdn', handle: (exchange) => serveBlob(storage, exchange) });
  storage.url = `http://localhost:${started.port}`;
  return { storage, server: started };
}

/** Ends all addresses given out so far. */
export function expireUrls(storage: BlobStorage): void {
  storage.expiredGeneration = storage.urlGeneration;
}
