import type { FileLocation } from '../../catalog/source.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { ByteSource } from './byte-source.ts';
import { TransferFault } from './faults.ts';
import type { PartFile } from './part-file.ts';
import type { TokenBucket } from './token-bucket.ts';

/** What one write takes: large enough for the disk, small enough that a kill loses little. */
const writeBytes = 128 * 1024;
/** A piece of this size is worth a write of its own. */
const directBytes = 64 * 1024;
/** A slow connection's bytes do not wait longer than this for more of them. */
const writeEveryMs = 250;

export type RangeFetchDeps = {
  bytes: ByteSource;
  file: PartFile;
  limits: readonly TokenBucket[];
  clock: Clock;
  stallMs: number;
  onWritten: (bytes: number) => void;
};

export type Range = { start: number; end: number; acceptWhole?: boolean };

/** One range on one connection, into the file. What has come is in the file, however it ends. */
export class RangeFetch {
  readonly startedAtMs: number;
  readonly #deps: RangeFetchDeps;
  readonly #controller = new AbortController();
  readonly #buffer = Buffer.allocUnsafe(writeBytes);
  #buffered = 0;
  #bufferedAtMs = 0;
  #position = 0;
  #received = 0;
  /** Since when the network has been waited for; null while the disk or a limit holds us up. */
  #waitingSinceMs: number | null = null;

  constructor(deps: RangeFetchDeps) {
    this.#deps = deps;
    this.startedAtMs = deps.clock.monotonicMs();
  }

  get receivedBytes(): number {
    return this.#received;
  }

  cancel(fault: TransferFault): void {
    this.#controller.abort(fault);
  }

  async run(range: Range, location: FileLocation, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const onAbort = (): void => this.#controller.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    const { stallMs } = this.#deps;
    const watch = setInterval(() => this.#checkStall(), Math.max(10, Math.min(1000, stallMs / 4)));
    this.#position = range.start;
    try {
      await this.#receive(range, location);
    } finally {
      clearInterval(watch);
      signal.removeEventListener('abort', onAbort);
      await this.#flush();
    }
  }

  async #receive(range: Range, location: FileLocation): Promise<void> {
    const { bytes, file, limits, clock } = this.#deps;
    const { signal } = this.#controller;
    this.#waitingSinceMs = clock.monotonicMs();
    const answer = await bytes.open({ location, ...range, totalBytes: file.map.size }, signal);
    this.#compareEtag(answer.etag, location);
    for await (const piece of answer.pieces) {
      this.#waitingSinceMs = null;
      this.#received += piece.length;
      await this.#store(piece);
      for (const limit of limits) await limit.take(piece.length, signal);
      this.#waitingSinceMs = clock.monotonicMs();
    }
  }

  async #store(piece: Uint8Array): Promise<void> {
    const nowMs = this.#deps.clock.monotonicMs();
    if (this.#buffered === 0) this.#bufferedAtMs = nowMs;
    const isOld = nowMs - this.#bufferedAtMs >= writeEveryMs;
    // A large piece is written from where it lies; small ones are gathered, because each write costs a turn of the loop.
    if (piece.length >= directBytes || isOld || this.#buffered + piece.length > this.#buffer.length) await this.#flush(piece);
    else {
      this.#buffer.set(piece, this.#buffered);
      this.#buffered += piece.length;
    }
  }

  async #flush(piece?: Uint8Array): Promise<void> {
    const pieces: Uint8Array[] = [];
    if (this.#buffered > 0) pieces.push(this.#buffer.subarray(0, this.#buffered));
    if (piece && piece.length > 0) pieces.push(piece);
    if (pieces.length === 0) return;
    const length = this.#buffered + (piece?.length ?? 0);
    this.#buffered = 0;
    await this.#deps.file.write(pieces, this.#position);
    this.#position += length;
    this.#deps.onWritten(length);
  }

  #checkStall(): void {
    const { clock, stallMs } = this.#deps;
    if (this.#waitingSinceMs === null || clock.monotonicMs() - this.#waitingSinceMs < stallMs) return;
    this.cancel(new TransferFault('stalled', `nothing came for ${stallMs} ms`));
  }

  /** Hosts differ in how they mark the same bytes, so only answers of one host are compared. */
  #compareEtag(etag: string | null, location: FileLocation): void {
    if (etag === null) return;
    const { host } = new URL(location.url);
    const known = this.#deps.file.etag;
    if (known?.host !== host) this.#deps.file.noteEtag({ host, value: etag });
    else if (known.value !== etag) throw new TransferFault('changed', `the storage's mark was ${known.value}, now it is ${etag}`);
  }
}
