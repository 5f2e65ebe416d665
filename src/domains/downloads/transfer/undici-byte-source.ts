import { BlockList } from 'node:net';
import { Agent, type Dispatcher, request } from 'undici';
import { withPrivateNetworks } from '../../../shared/private-networks.ts';
import type { ByteSource, RangeAnswer, RangeRequest } from './byte-source.ts';
import { TransferFault } from './faults.ts';
import { waitOf } from './retry-policy.ts';

export type UndiciByteSourceOptions = { connectTimeoutMs: number; userAgent: string };

type Headers = Dispatcher.ResponseData['headers'];

/** Headers of an answer, not its body: a few kilobytes are plenty. */
const headerBytesMax = 32 * 1024;

/** Ranges over HTTP/1.1 by undici. */
export function createUndiciByteSource(options: UndiciByteSourceOptions): ByteSource {
  return new UndiciByteSource(options);
}

class UndiciByteSource implements ByteSource {
  readonly #public: Agent;
  readonly #any: Agent;
  readonly #userAgent: string;

  constructor({ connectTimeoutMs, userAgent }: UndiciByteSourceOptions) {
    // HTTP/2 puts all ranges on one connection with small windows, which is what parallel ranges are there to avoid.
    // No time limits here: whoever reads knows when it waits for the network and when for the disk.
    const common: Agent.Options = { allowH2: false, pipelining: 1, headersTimeout: 0, bodyTimeout: 0, maxHeaderSize: headerBytesMax };
    this.#userAgent = userAgent;
    this.#any = new Agent({ ...common, connect: { timeout: connectTimeoutMs } });
    // Looked at after name resolution, for each address that is tried.
    const connect = { timeout: connectTimeoutMs, blockList: withPrivateNetworks(new BlockList()) };
    this.#public = new Agent({ ...common, connect });
  }

  async open(range: RangeRequest, signal: AbortSignal): Promise<RangeAnswer> {
    const { location, start, end } = range;
    const headers = { ...location.headers, 'accept-encoding': 'identity', 'user-agent': this.#userAgent, range: `bytes=${start}-${end - 1}` };
    const dispatcher = location.allowPrivate ? this.#any : this.#public;
    let response: Dispatcher.ResponseData;
    try {
      response = await request(location.url, { method: 'GET', headers, dispatcher, signal });
    } catch (error) {
      signal.throwIfAborted();
      throw new TransferFault('connection', `no answer: ${messageOf(error)}`, { cause: error });
    }
    const fault = faultOf(response, range);
    if (fault) {
      // An answer nobody reads would hold its connection.
      response.body.on('error', () => undefined).destroy();
      throw fault;
    }
    const skip = response.statusCode === 200 ? start : 0;
    return { etag: single(response.headers['etag']), pieces: readExactly(response, { skip, length: end - start }, signal) };
  }

  async close(): Promise<void> {
    await Promise.all([this.#public.destroy(), this.#any.destroy()]);
  }
}

function single(value: string | string[] | undefined): string | null {
  return typeof value === 'string' ? value : null;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function waitIn(headers: Headers): number | null {
  const text = (name: string): string | undefined => single(headers[name]) ?? undefined;
  return waitOf({ retryAfter: text('retry-after'), rateLimit: text('ratelimit') }, Date.now());
}

function faultOf({ statusCode, headers }: Dispatcher.ResponseData, range: RangeRequest): TransferFault | null {
  switch (statusCode) {
    case 206:
      return rangeFault(headers, range);
    case 200:
      return wholeFault(headers, range);
    case 401:
    case 403:
    case 410:
      return new TransferFault('expired', `HTTP ${statusCode}`);
    case 404:
      return new TransferFault('missing', 'HTTP 404');
    case 416:
      return new TransferFault('changed', 'HTTP 416: the file is shorter than it was');
    case 429:
    case 503:
      return new TransferFault('throttled', `HTTP ${statusCode}`, { waitMs: waitIn(headers) });
    default:
      // Redirects are followed where addresses come from, with its rules; here they mean that the address is old.
      return new TransferFault(statusCode >= 300 && statusCode < 400 ? 'expired' : 'bad_answer', `HTTP ${statusCode}`, { waitMs: waitIn(headers) });
  }
}

function isEncoded(headers: Headers): boolean {
  const encoding = single(headers['content-encoding']);
  return encoding !== null && encoding !== 'identity';
}

function rangeFault(headers: Headers, { start, end, totalBytes }: RangeRequest): TransferFault | null {
  if (isEncoded(headers)) return new TransferFault('bad_answer', 'the bytes come encoded');
  const given = single(headers['content-range']) ?? 'none';
  const match = /^bytes (\d{1,16})-(\d{1,16})\/(\d{1,16}|\*)$/.exec(given);
  const [, first, last, total] = match ?? [];
  if (total !== undefined && total !== '*' && Number(total) !== totalBytes) return new TransferFault('changed', `the file has ${total} bytes now, not ${totalBytes}`);
  if (!match || Number(first) !== start || Number(last) !== end - 1) {
    return new TransferFault('bad_answer', `asked for bytes ${start}-${end - 1}, got ${given.slice(0, 80)}`);
  }
  return null;
}

/** The whole file in place of a range is right only when the range is all of it, or the caller copes. */
function wholeFault(headers: Headers, { start, end, totalBytes, acceptWhole }: RangeRequest): TransferFault | null {
  if (isEncoded(headers)) return new TransferFault('bad_answer', 'the bytes come encoded');
  const length = single(headers['content-length']);
  if (length !== null && Number(length) !== totalBytes) return new TransferFault('changed', `the file has ${length} bytes now, not ${totalBytes}`);
  return acceptWhole === true || (start === 0 && end === totalBytes) ? null : new TransferFault('range_ignored', 'the whole file came in place of a range');
}

type Window = { /** Bytes to pass over. */ skip: number; length: number };

async function* readExactly({ body }: Dispatcher.ResponseData, window: Window, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  let { skip, length: left } = window;
  try {
    for await (const piece of body as AsyncIterable<Buffer>) {
      const wanted = piece.subarray(Math.min(skip, piece.length));
      skip -= piece.length - wanted.length;
      if (wanted.length > left) throw new TransferFault('bad_answer', 'more bytes came than were asked for');
      left -= wanted.length;
      yield wanted;
    }
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof TransferFault) throw error;
    throw new TransferFault('connection', `cut off: ${messageOf(error)}`, { cause: error });
  }
  if (left > 0) throw new TransferFault('connection', `the answer ended ${left} bytes early`);
}
