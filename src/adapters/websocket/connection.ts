import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import { StopReason } from '../../shared/abort.ts';
import type { AppError } from '../../shared/errors.ts';
import { corkForTurn } from '../http/cork.ts';
import { closeCodes } from './close-codes.ts';

/** Above this the peer reads slower than we send: the sender waits. */
const bufferedBytesMax = 256 * 1024;
/** A peer that took nothing for this long is cut. */
export const defaultStalledMsMax = 30_000;
const drainPollMs = 50;
const pingIntervalMs = 30_000;

function closeCodeOf({ code }: AppError): number {
  if (code === 'UNAUTHENTICATED') return closeCodes.unauthenticated;
  if (code === 'FORBIDDEN') return closeCodes.forbidden;
  if (code === 'INTERNAL') return closeCodes.internal;
  return code.endsWith('NOT_FOUND') ? closeCodes.notFound : closeCodes.badRequest;
}

/**
 * One accepted `/ws/*` socket. Sending waits while the peer is behind, so a producer that waits for `send` never
 * queues more than one message for a client that stopped reading, and the client is cut in the end.
 */
export class Connection {
  /** Aborts when the socket closes, for whatever reason. */
  readonly signal: AbortSignal;
  readonly #socket: WebSocket;
  readonly #carrier: Duplex;
  readonly #closed = new AbortController();
  readonly #stalledMsMax: number;
  #isAlive = true;

  /** `carrier`: what the socket's messages travel on. */
  constructor(socket: WebSocket, carrier: Duplex, stalledMsMax: number = defaultStalledMsMax) {
    this.#socket = socket;
    this.#carrier = carrier;
    this.#stalledMsMax = stalledMsMax;
    this.signal = this.#closed.signal;
    const ping = setInterval(() => this.#ping(), pingIntervalMs);
    socket.on('pong', () => {
      this.#isAlive = true;
    });
    // The `close` that follows every error tells the rest.
    socket.on('error', () => undefined);
    socket.once('close', () => {
      clearInterval(ping);
      this.#closed.abort(new StopReason('caller_gone'));
    });
  }

  /** Nothing while the peer is not far behind, else resolves when it is not; throws or rejects with the signal's reason when the socket has closed. */
  send(message: Readonly<Record<string, unknown>>): Promise<void> | undefined {
    this.signal.throwIfAborted();
    corkForTurn(this.#carrier);
    this.#socket.send(JSON.stringify(message));
    return this.#socket.bufferedAmount > bufferedBytesMax ? this.#drained() : undefined;
  }

  /** The same for somebody who may have gone already: never rejects. */
  async tell(message: Readonly<Record<string, unknown>>): Promise<void> {
    try {
      await this.send(message);
    } catch {
      // The socket has closed, and whoever waits for it knows.
    }
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  closeFor(error: AppError): void {
    this.close(closeCodeOf(error), error.code);
  }

  #ping(): void {
    if (!this.#isAlive) {
      this.#socket.terminate();
      return;
    }
    this.#isAlive = false;
    this.#socket.ping();
  }

  /** ws has no drain event, so the buffer is looked at; progress of any size starts the patience anew. */
  async #drained(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    let lowest = this.#socket.bufferedAmount;
    let movedAt = performance.now();
    const timer = setInterval(() => {
      const buffered = this.#socket.bufferedAmount;
      if (buffered <= bufferedBytesMax / 2) return resolve(undefined);
      if (buffered < lowest) {
        lowest = buffered;
        movedAt = performance.now();
      }
      if (performance.now() - movedAt <= this.#stalledMsMax) return undefined;
      this.#socket.close(closeCodes.tooSlow, 'too slow: resume from the last position');
      // A close frame waits behind the unread data: only ending the connection frees it.
      this.#socket.terminate();
      return undefined;
    }, drainPollMs);
    const onClosed = (): void => reject(this.signal.reason as Error);
    this.signal.addEventListener('abort', onClosed, { once: true });
    try {
      await promise;
    } finally {
      clearInterval(timer);
      this.signal.removeEventListener('abort', onClosed);
    }
  }
}
