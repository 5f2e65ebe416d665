import { BlockList } from 'node:net';
import type { FileLocation } from '../../catalog/source.ts';
import { withPrivateNetworks } from '../../../shared/private-networks.ts';
import { type AnswerHead, faultOf } from './answer-head.ts';
import type { ByteSource, RangeAnswer, RangeRequest } from './byte-source.ts';
import { TransferFault } from './faults.ts';
import { RawConnection, type RawTarget } from './raw-connection.ts';

export type RawByteSourceOptions = { connectTimeoutMs: number; userAgent: string };

/** The answer is one that this reader does not read; another one will. */
export class NotPlain extends Error {
  override readonly name = 'NotPlain';
}

const headBytesMax = 32 * 1024;
/** Connections that wait for their next range. Servers keep them for about so long, too. */
const idleMax = 32;
const idleMs = 4_000;
/** Text that cannot end a line of a request or begin another one. */
const plainText = /^[\u0021-\u007e](?:[\u0020-\u007e]*[\u0021-\u007e])?$/;

type Idle = { connection: RawConnection; timer: NodeJS.Timeout };

/**
 * Ranges over HTTP/1.1 without a stream in between, for the one kind of answer that storage behind signed addresses
 * gives: 206 with Content-Range and Content-Length. `open` throws NotPlain for any other answer that is not a refusal.
 * Knows no proxies, no redirects, no encodings.
 */
export class RawByteSource implements ByteSource {
  readonly #options: RawByteSourceOptions;
  readonly #private = withPrivateNetworks(new BlockList());
  /** Apart for addresses that may be private: a connection must not change sides by being kept. */
  readonly #idle = new Map<string, Idle[]>();
  readonly #open = new Set<RawConnection>();
  #idleCount = 0;

  constructor(options: RawByteSourceOptions) {
    this.#options = options;
  }

  async open(range: RangeRequest, signal: AbortSignal): Promise<RangeAnswer> {
    signal.throwIfAborted();
    const { target, text } = this.#request(range);
    const key = `${String(range.location.allowPrivate)} ${String(target.isTls)} ${target.host}:${target.port}`;
    for (;;) {
      const kept = this.#take(key);
      const connection = kept ?? this.#connect(target, range.location);
      const onAbort = (): void => connection.destroy();
      signal.addEventListener('abort', onAbort, { once: true });
      const end = (): void => signal.removeEventListener('abort', onAbort);
      try {
        connection.send(text);
        const head = await readHead(connection);
        signal.throwIfAborted();
        if (head) {
          const answer = check(head, range);
          return { etag: head.header('etag'), pieces: this.#pieces({ connection, key, answer, end }, signal) };
        }
        // One that was kept may have been given up by the other side at this very moment; a new one tells.
        if (!kept) throw new TransferFault('connection', 'the connection was closed without an answer');
      } catch (error) {
        end();
        this.#close(connection);
        signal.throwIfAborted();
        if (!kept || !(error instanceof TransferFault) || error.kind !== 'connection') throw error;
      }
      end();
      this.#close(connection);
    }
  }

  async close(): Promise<void> {
    for (const connection of [...this.#open]) this.#close(connection);
    for (const { connection, timer } of [...this.#idle.values()].flat()) {
      clearTimeout(timer);
      connection.destroy();
    }
    this.#idle.clear();
    await Promise.resolve();
  }

  #request({ location, start, end }: RangeRequest): { target: RawTarget; text: string } {
    const url = new URL(location.url);
    const isTls = url.protocol === 'https:';
    if ((!isTls && url.protocol !== 'http:') || url.username !== '' || url.password !== '') throw new NotPlain('no plain address');
    const headers = { ...location.headers, host: url.host, 'accept-encoding': 'identity', 'user-agent': this.#options.userAgent, range: `bytes=${start}-${end - 1}` };
    const lines = Object.entries(headers).map(([name, value]) => {
      if (!/^[\w-]+$/.test(name) || !plainText.test(value)) throw new NotPlain('no plain header');
      return `${name}: ${value}\r\n`;
    });
    const target = { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(url.port === '' ? (isTls ? 443 : 80) : url.port), isTls };
    return { target, text: `GET ${url.pathname}${url.search} HTTP/1.1\r\n${lines.join('')}\r\n` };
  }

  #connect(target: RawTarget, { allowPrivate }: FileLocation): RawConnection {
    const { connectTimeoutMs } = this.#options;
    const connection = new RawConnection(target, { connectTimeoutMs, ...(allowPrivate ? {} : { blockList: this.#private }) });
    this.#open.add(connection);
    return connection;
  }

  async *#pieces({ connection, key, answer, end }: Flow, signal: AbortSignal): AsyncGenerator<Uint8Array> {
    let left = answer.length;
    try {
      while (left > 0) {
        const piece = await connection.read();
        signal.throwIfAborted();
        if (piece === null) throw new TransferFault('connection', `the answer ended ${left} bytes early`);
        if (piece.length > left) throw new TransferFault('bad_answer', 'more bytes came than were asked for');
        left -= piece.length;
        yield piece;
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error;
    } finally {
      end();
      if (left === 0 && answer.isKept && connection.isClean && !signal.aborted) this.#keep(key, connection);
      else this.#close(connection);
    }
  }

  #take(key: string): RawConnection | null {
    for (let idle = this.#idle.get(key)?.pop(); idle; idle = this.#idle.get(key)?.pop()) {
      clearTimeout(idle.timer);
      this.#idleCount -= 1;
      idle.connection.hold(true);
      if (idle.connection.isClean) {
        this.#open.add(idle.connection);
        return idle.connection;
      }
      idle.connection.destroy();
    }
    this.#idle.delete(key);
    return null;
  }

  #keep(key: string, connection: RawConnection): void {
    this.#open.delete(connection);
    if (this.#idleCount >= idleMax) {
      connection.destroy();
      return;
    }
    connection.hold(false);
    const idle: Idle = { connection, timer: setTimeout(() => this.#drop(key, idle), idleMs).unref() };
    this.#idleCount += 1;
    this.#idle.set(key, [...(this.#idle.get(key) ?? []), idle]);
  }

  #drop(key: string, idle: Idle): void {
    idle.connection.destroy();
    this.#idleCount -= 1;
    const others = (this.#idle.get(key) ?? []).filter((other) => other !== idle);
    if (others.length > 0) this.#idle.set(key, others);
    else this.#idle.delete(key);
  }

  #close(connection: RawConnection): void {
    this.#open.delete(connection);
    connection.destroy();
  }
}

type PlainAnswer = { length: number; isKept: boolean };
type Flow = { connection: RawConnection; key: string; answer: PlainAnswer; end: () => void };

/** Status and headers; null when the other side ended before it said a word. Throws NotPlain for what is no plain HTTP. */
async function readHead(connection: RawConnection): Promise<RawHead | null> {
  let text = '';
  for (;;) {
    const piece = await connection.read();
    if (piece === null) {
      if (text === '') return null;
      throw new TransferFault('connection', 'the answer ended within its head');
    }
    const before = text.length;
    text += Buffer.from(piece.buffer, piece.byteOffset, Math.min(piece.length, headBytesMax)).toString('latin1');
    const end = text.indexOf('\r\n\r\n');
    if (end >= 0) {
      connection.unread(piece.length - (end + 4 - before));
      return parseHead(text.slice(0, end));
    }
    if (text.length >= headBytesMax) throw new NotPlain('a head without an end');
  }
}

/** What says where the body ends: when it came twice it might be read in two ways. */
const framing = ['content-length', 'content-range', 'content-encoding', 'transfer-encoding', 'connection'];

type RawHead = AnswerHead & { isDoubled: boolean };

function parseHead(text: string): RawHead {
  const [first = '', ...lines] = text.split('\r\n');
  const status = Number(/^HTTP\/1\.1 ([2-5]\d\d)(?: |$)/.exec(first)?.[1] ?? NaN);
  if (Number.isNaN(status)) throw new NotPlain('no plain status');
  const headers = new Map<string, string | null>();
  for (const line of lines) {
    const [, name = '', value = ''] = /^([!#$%&'*+.^_`|~\w-]+):[ \t]*(.*?)[ \t]*$/.exec(line) ?? [];
    if (name === '') throw new NotPlain('no plain header');
    const key = name.toLowerCase();
    headers.set(key, headers.has(key) ? null : value);
  }
  return { status, header: (name) => headers.get(name) ?? null, isDoubled: framing.some((name) => headers.get(name) === null) };
}

function check(head: RawHead, range: RangeRequest): PlainAnswer {
  const isRefusal = head.status !== 206 && head.status !== 200;
  // A refusal is believed however its own body would have to be read.
  if (!isRefusal && (head.isDoubled || head.header('transfer-encoding') !== null)) throw new NotPlain('a body whose end is not plain');
  const fault = faultOf(head, range);
  if (fault) throw fault;
  const length = range.end - range.start;
  if (head.status !== 206) throw new NotPlain('the whole file');
  const given = head.header('content-length');
  if (given === null || !/^\d{1,16}$/.test(given)) throw new NotPlain('no length');
  if (Number(given) !== length) throw new TransferFault('bad_answer', `a range of ${length} bytes is said to have ${given}`);
  return { length, isKept: !/(?:^|[ ,])close(?:$|[ ,])/i.test(head.header('connection') ?? '') };
}
