import { BlockList } from 'node:net';
import { Agent, request as send, type Dispatcher } from 'undici';
import { AppError } from '../../shared/errors.ts';
import type { OutgoingHttp, OutgoingRequest, OutgoingResponse } from '../../shared/outgoing-http.ts';
import { withPrivateNetworks } from '../../shared/private-networks.ts';

export type OutgoingHttpClient = { request: OutgoingHttp; close(): Promise<void> };
export type OutgoingHttpOptions = { userAgent: string; /** For one request, the answer read to its end included. */ timeoutMs?: number };

const timeoutMsDefault = 30_000;
const connectTimeoutMs = 10_000;
const headerBytesMax = 64 * 1024;

/** The one client for small requests to the outside: no redirects, guarded addresses, bounded answers. */
export function createOutgoingHttp({ userAgent, timeoutMs = timeoutMsDefault }: OutgoingHttpOptions): OutgoingHttpClient {
  const common: Agent.Options = { allowH2: false, maxHeaderSize: headerBytesMax };
  const trusted = new Agent({ ...common, connect: { timeout: connectTimeoutMs } });
  const guarded = new Agent({ ...common, connect: { timeout: connectTimeoutMs, blockList: withPrivateNetworks(new BlockList()) } });

  const request: OutgoingHttp = async (outgoing, signal) => {
    signal.throwIfAborted();
    const limit = AbortSignal.timeout(timeoutMs);
    const ended = AbortSignal.any([signal, limit]);
    try {
      const { method, url, body } = outgoing;
      const headers = { 'accept-encoding': 'identity', 'user-agent': userAgent, ...outgoing.headers };
      const dispatcher = outgoing.allowPrivate ? trusted : guarded;
      const response = await send(url, { method, headers, body: body ?? null, signal: ended, dispatcher });
      return await readWhole(response, outgoing);
    } catch (cause) {
      throw toFault(cause, { url: outgoing.url, signal, limit });
    }
  };
  return {
    request,
    async close() {
      await Promise.all([trusted.destroy(), guarded.destroy()]);
    },
  };
}

async function readWhole({ statusCode, headers, body }: Dispatcher.ResponseData, { maxBytes, overflow = 'fail' }: OutgoingRequest): Promise<OutgoingResponse> {
  const chunks: Uint8Array[] = [];
  let left = maxBytes;
  // Leaving the loop destroys the body and with it the connection, so the rest is not fetched.
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk.subarray(0, left));
    left -= chunk.byteLength;
    if (left >= 0) continue;
    if (overflow === 'truncate') break;
    throw new AppError('PAYLOAD_TOO_LARGE', `The answer is longer than ${maxBytes} bytes.`);
  }
  return { status: statusCode, headers: flattenHeaders(headers), body: Buffer.concat(chunks) };
}

export function flattenHeaders(headers: Readonly<Record<string, string | string[] | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]));
}

function toFault(cause: unknown, context: { url: string; signal: AbortSignal; limit: AbortSignal }): unknown {
  if (cause instanceof AppError) return cause;
  if (context.signal.aborted) return context.signal.reason;
  const host = URL.parse(context.url)?.host ?? 'the server';
  if (context.limit.aborted) return new AppError('TIMEOUT', `${host} did not answer in time.`, { cause });
  const internal = cause instanceof Error ? cause.message : String(cause);
  return new AppError('NETWORK_FAILED', `There is no connection to ${host}.`, { cause, internal });
}
