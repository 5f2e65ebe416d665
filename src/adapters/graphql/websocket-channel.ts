import type { Duplex } from 'node:stream';
import type { Server } from 'graphql-ws';
import type { RawData, WebSocket } from 'ws';
import type { RequestOrigin } from '../../shared/audit-log.ts';
import type { Principal } from '../../shared/principal.ts';
import { StopReason } from '../../shared/abort.ts';
import type { Logger } from '../../shared/logger.ts';
import { corkForTurn } from '../http/cork.ts';

/** What the protocol knows of its connection. */
export type SocketExtra = {
  channel: SocketChannel;
  /** Set by the upgrade's headers or by `connection_init`. */
  principal: Principal | null;
  /** The upgrade's. */
  origin: RequestOrigin;
  /** The upgrade's headers held a key that is not good. */
  isRefused: boolean;
};

/** Close codes beside those of the protocol itself. */
const closeCodes = { tooManyMessages: 4429, tooSlow: 1013, internal: 4500 } as const;
/** Longer than this apart, and routers between forget the connection. A client that does not answer is cut. */
const pingEveryMs = 20_000;
/** How long a client that is told to go may take. */
const closeGraceMs = 1_000;
/** What may wait for the client unread without holding up who sends. */
const unreadCharsMax = 16 * 1024;
/** Messages of the client whose answers have not been sent yet, above the operations that may run. */
const messagesInHandMax = 256;

/** One WebSocket: sends no faster than the client reads, and ends clients that do not read at all. */
export class SocketChannel {
  readonly #socket: WebSocket;
  /** What the messages of the socket travel on. */
  readonly #connection: Duplex;
  readonly #stalledMsMax: number;
  readonly #logger: Logger;
  readonly #gone = new AbortController();
  #isAlive = true;
  #messagesInHand = 0;

  constructor({ socket, connection }: { socket: WebSocket; connection: Duplex }, stalledMsMax: number, logger: Logger) {
    this.#socket = socket;
    this.#connection = connection;
    this.#logger = logger;
    this.#stalledMsMax = stalledMsMax;
    // 'close' follows; without a listener the error would end the process.
    socket.on('error', () => undefined);
    socket.once('close', () => this.#gone.abort(new StopReason('caller_gone')));
    socket.on('pong', () => (this.#isAlive = true));
    const pings = setInterval(() => this.#ping(), pingEveryMs);
    pings.unref();
    this.signal.addEventListener('abort', () => clearInterval(pings), { once: true });
  }

  /** Aborts when the socket is closed. */
  get signal(): AbortSignal {
    return this.#gone.signal;
  }

  serve(protocol: Server<SocketExtra>, extra: SocketExtra): void {
    const closed = protocol.opened(
      {
        protocol: this.#socket.protocol,
        send: (text) => this.send(text),
        close: (code, reason) => this.close(code ?? closeCodes.internal, reason ?? ''),
        onMessage: (handler) => this.#socket.on('message', (data) => void this.#receive(data, handler)),
      },
      extra,
    );
    this.#socket.once('close', (code, reason) => void closed(code, reason.toString()));
  }

  /** Closes, and cuts the connection when the client does not answer. */
  close(code: number, reason: string): void {
    if (this.#gone.signal.aborted) return;
    this.#socket.close(code, reason.slice(0, 120));
    const timer = setTimeout(() => this.#socket.terminate(), closeGraceMs);
    this.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  #ping(): void {
    if (!this.#isAlive) return this.#socket.terminate();
    this.#isAlive = false;
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.ping();
    return undefined;
  }

  async #receive(data: RawData, handler: (text: string) => Promise<void>): Promise<void> {
    // A client that sends without reading would fill memory with answers.
    if (this.#messagesInHand >= messagesInHandMax) { this.close(closeCodes.tooManyMessages, 'too many messages at once'); return; }
    this.#messagesInHand += 1;
    try {
      await handler((Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as Buffer)).toString('utf8'));
    } catch (err) {
      // The protocol answers what it foresees: this is a fault, such as a database that cannot check a key.
      if (!this.signal.aborted) this.#logger.error({ err }, 'GraphQL socket failed');
      this.close(closeCodes.internal, 'internal error');
    } finally {
      this.#messagesInHand -= 1;
    }
    return undefined;
  }

  /** Nothing while the client reads along; else resolves when it has, so that a stream is pulled no faster than its reader reads. */
  send(text: string): Promise<void> | undefined {
    if (this.#socket.readyState !== this.#socket.OPEN) return undefined;
    corkForTurn(this.#connection);
    if (this.#socket.bufferedAmount + text.length > unreadCharsMax) return this.#sendInTime(text);
    this.#socket.send(text);
    return undefined;
  }

  async #sendInTime(text: string): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => this.close(closeCodes.tooSlow, 'too slow: come back and resume from your last position'), this.#stalledMsMax);
    const done = (): void => resolve(undefined);
    this.signal.addEventListener('abort', done, { once: true });
    this.#socket.send(text, done);
    await promise;
    clearTimeout(timer);
    this.signal.removeEventListener('abort', done);
  }
}
