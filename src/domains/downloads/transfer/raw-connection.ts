import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { TransferFault } from './faults.ts';

export type RawTarget = { host: string; port: number; isTls: boolean };

/** Read into again and again: what a stream would allocate for each piece is most of what a stream costs. */
const bufferBytes = 256 * 1024;

/**
 * One connection that is read into one buffer of its own. Not more than one read is under way, and while nobody asks
 * nothing is read, so the other side feels how quick we are.
 */
export class RawConnection {
  readonly #socket: Socket;
  readonly #buffer = Buffer.allocUnsafe(bufferBytes);
  #ready = Promise.withResolvers<undefined>();
  /** What lies in the buffer and was not taken yet. */
  #from = 0;
  #to = 0;
  #isOver = false;
  #failure: Error | undefined;

  constructor(target: RawTarget, options: Pick<NetConnectOpts & object, 'blockList'> & { connectTimeoutMs: number }) {
    const { host, port, isTls } = target;
    const { blockList, connectTimeoutMs } = options;
    const onread = { buffer: this.#buffer, callback: (length: number) => this.#onRead(length) };
    // The list is looked at after name resolution, for each address that is tried.
    const common = { host, port, onread, noDelay: true, ...(blockList ? { blockList } : {}) };
    this.#socket = isTls ? connectTls({ ...common, ALPNProtocols: ['http/1.1'], ...(isAddress(host) ? {} : { servername: host }) }) : connect(common);
    const timer = setTimeout(() => this.#socket.destroy(new Error('no connection in time')), connectTimeoutMs);
    this.#socket
      .once(isTls ? 'secureConnect' : 'connect', () => clearTimeout(timer))
      .on('error', (error) => (this.#failure ??= error))
      .on('end', () => this.#end())
      .on('close', () => {
        clearTimeout(timer);
        this.#end();
      });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  send(text: string): void {
    this.#socket.write(text, 'latin1');
  }

  /** The bytes that came next, valid until the next call; null when the other side has ended. */
  async read(): Promise<Uint8Array | null> {
    if (this.#from === this.#to) {
      if (this.#isOver) return this.#ended();
      this.#ready = Promise.withResolvers<undefined>();
      this.#socket.resume();
      await this.#ready.promise;
      if (this.#from === this.#to) return this.#ended();
    }
    const piece = this.#buffer.subarray(this.#from, this.#to);
    this.#from = this.#to;
    return piece;
  }

  /** Puts the last `bytes` of what was read back, for the next `read`. */
  unread(bytes: number): void {
    this.#from -= bytes;
  }

  /** True when no byte that nobody asked for lies about: only then is it good for another request. */
  get isClean(): boolean {
    return !this.#isOver && this.#from === this.#to;
  }

  /** Whether it keeps the process alive. */
  hold(isHeld: boolean): void {
    if (isHeld) this.#socket.ref();
    else this.#socket.unref();
  }

  destroy(): void {
    this.#isOver = true;
    this.#socket.destroy();
    this.#ready.resolve(undefined);
  }

  #onRead(length: number): boolean {
    this.#from = 0;
    this.#to = length;
    this.#ready.resolve(undefined);
    return false;
  }

  #end(): void {
    this.#isOver = true;
    this.#ready.resolve(undefined);
  }

  #ended(): null {
    if (this.#failure) throw new TransferFault('connection', `cut off: ${this.#failure.message}`, { cause: this.#failure });
    return null;
  }
}

/** TLS takes no server name that is an address. */
function isAddress(host: string): boolean {
  return /^[\d.]+$/.test(host) || host.includes(':');
}
