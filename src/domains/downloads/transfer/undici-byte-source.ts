import { BlockList } from 'node:net';
import { Agent, type Dispatcher, request } from 'undici';
import { withPrivateNetworks } from '../../../shared/private-networks.ts';
import { faultOf } from './answer-head.ts';
import type { ByteSource, RangeAnswer, RangeRequest } from './byte-source.ts';
import { TransferFault } from './faults.ts';

export type UndiciByteSourceOptions = { connectTimeoutMs: number; userAgent: string };

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
    const fault = faultOf({ status: response.statusCode, header: (name) => single(response.headers[name]) }, range);
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
