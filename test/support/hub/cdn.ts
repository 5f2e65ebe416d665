/** The storage host behind signed addresses: plain bytes, ranges, no tokens. */
import { findFault } from './faults.ts';
import type { Exchange } from './http-double.ts';
import { send } from './send.ts';
import type { HubState } from './state.ts';
import { checkSignature } from './state.ts';

async function refuse(exchange: Exchange, status: number, code: string, message: string): Promise<void> {
  const body = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`;
  await send(exchange, { status, headers: { 'content-type': 'application/xml' }, body });
}

export async function serveBlob(state: HubState, exchange: Exchange): Promise<void> {
  const { path, query, method } = exchange;
  const sha256 = /^\/xet-bridge-us\/([0-9a-f]{64})$/.exec(path)?.[1];
  const file = sha256 === undefined ? undefined : state.blobs.get(sha256);
  if (method !== 'GET' && method !== 'HEAD') return refuse(exchange, 405, 'MethodNotAllowed', 'The specified method is not allowed against this resource.');
  if (sha256 === undefined || !file) return refuse(exchange, 404, 'NoSuchKey', 'The specified key does not exist.');
  // A signed address and a token exclude each other at the storage; a client that sends both leaks the token.
  if (exchange.entry.authorization !== null) return refuse(exchange, 400, 'InvalidArgument', 'Only one auth mechanism allowed.');
  const verdict = findFault(exchange.faults, 'expire') ? 'expired' : checkSignature(state, sha256, query);
  if (verdict === 'expired') return refuse(exchange, 403, 'AccessDenied', 'Request has expired');
  if (verdict === 'forged') return refuse(exchange, 403, 'SignatureDoesNotMatch', 'The signature does not match.');
  await send(exchange, { headers: { 'content-type': 'application/octet-stream', etag: `"${sha256}"` }, body: file.content, ranges: true });
}
