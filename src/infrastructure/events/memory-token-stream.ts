import { setImmediate as nextTurn } from 'node:timers/promises';
import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import type { StreamEnd, StreamEntry, TokenStream } from '../../shared/token-stream.ts';

export type MemoryTokenStreamOptions = {
  clock: Clock;
  /** An ended stream stays readable this long; default 10 minutes. */
  keepEndedMs?: number;
  messagesMax?: number;
  piecesMax?: number;
  /** Of all streams together, counted as UTF-16; ended streams go first that were read longest ago. */
  bytesMax?: number;
};

type Stream = { pieces: string[]; bytes: number; outcome: StreamEnd['outcome'] | null; endedAtMs: number };

/** A reader that catches up with a long answer lets everything else of this process have its turn after so many. */
const entriesPerTurn = 16;
/** Per piece, for the array's slot and the string's header. */
const pieceOverheadBytes = 32;

/** The TokenStream of one process: every piece is stored once, and readers walk along the stored ones. */
export class MemoryTokenStream implements TokenStream {
  readonly isShared = false;
  readonly #clock: Clock;
  readonly #keepEndedMs: number;
  readonly #messagesMax: number;
  readonly #piecesMax: number;
  readonly #bytesMax: number;
  /** In order of last use: the one that was used longest ago comes first. */
  readonly #streams = new Map<string, Stream>();
  /** Whoever waits for the next entry of a message, also of one that has none yet. */
  readonly #waiters = new Map<string, Set<() => void>>();
  #bytes = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: MemoryTokenStreamOptions) {
    this.#clock = options.clock;
    this.#keepEndedMs = options.keepEndedMs ?? 10 * 60_000;
    this.#messagesMax = options.messagesMax ?? 1_000;
    this.#piecesMax = options.piecesMax ?? 200_000;
    this.#bytesMax = options.bytesMax ?? 64 * 1024 * 1024;
  }

  append(messageId: string, text: string): Promise<number> {
    const stream = this.#streams.get(messageId) ?? this.#open(messageId);
    if (stream.outcome) throw new Error(`the stream of message ${messageId} has ended`);
    if (stream.pieces.length >= this.#piecesMax) throw new AppError('OVERLOADED', 'The answer has more pieces than a stream can hold.');
    const bytes = text.length * 2 + pieceOverheadBytes;
    this.#makeRoom(bytes);
    const index = stream.pieces.push(text) - 1;
    stream.bytes += bytes;
    this.#bytes += bytes;
    this.#wake(messageId);
    return Promise.resolve(index);
  }

  end(messageId: string, outcome: StreamEnd['outcome']): Promise<void> {
    const stream = this.#streams.get(messageId) ?? this.#open(messageId);
    if (!stream.outcome) {
      stream.outcome = outcome;
      stream.endedAtMs = this.#clock.monotonicMs();
      this.#wake(messageId);
      this.#planSweep();
    }
    return Promise.resolve();
  }

  async abandon(messageId: string, outcome: StreamEnd['outcome']): Promise<void> {
    if (this.#streams.has(messageId)) await this.end(messageId, outcome);
  }

  pieces(messageId: string): Promise<readonly string[] | null> {
    return Promise.resolve(this.#streams.get(messageId)?.pieces ?? null);
  }

  /** What is held of the stream; it grows in place. For those who pass it on. */
  stored(messageId: string): { readonly pieces: readonly string[]; readonly outcome: StreamEnd['outcome'] | null } | null {
    return this.#streams.get(messageId) ?? null;
  }

  /** Drops the stream even if it has not ended; its readers end as after any forgotten one. */
  forget(messageId: string): void {
    const stream = this.#streams.get(messageId);
    if (stream) this.#drop(messageId, stream);
  }

  has(messageId: string): Promise<boolean> {
    this.#sweep();
    return Promise.resolve(this.#streams.has(messageId));
  }

  read(messageId: string, after: number, signal: AbortSignal): AsyncIterableIterator<StreamEntry> {
    return new Reader(this, { messageId, after, signal });
  }

  /** Forgets everything; readers that wait end with their signals. */
  close(): void {
    clearTimeout(this.#sweeper);
    this.#streams.clear();
    this.#bytes = 0;
    for (const messageId of [...this.#waiters.keys()]) this.#wake(messageId);
  }

  /** The entry after `after`; `later` when it has not been written yet, `gone` when there is no stream. For readers. */
  peek(messageId: string, after: number): StreamEntry | 'later' | 'gone' {
    const stream = this.#streams.get(messageId);
    if (!stream) return 'gone';
    if (stream.outcome) this.#markUsed(messageId, stream);
    const text = stream.pieces[after + 1];
    if (text !== undefined) return { type: 'piece', index: after + 1, text };
    return stream.outcome ? { type: 'end', index: stream.pieces.length - 1, outcome: stream.outcome } : 'later';
  }

  /** Calls `wake` once, at the next change of the stream. For readers. */
  waitFor(messageId: string, wake: () => void): () => void {
    const waiters = this.#waiters.get(messageId) ?? new Set();
    waiters.add(wake);
    this.#waiters.set(messageId, waiters);
    return () => {
      waiters.delete(wake);
      if (waiters.size === 0 && this.#waiters.get(messageId) === waiters) this.#waiters.delete(messageId);
    };
  }

  #open(messageId: string): Stream {
    this.#sweep();
    if (this.#streams.size >= this.#messagesMax && !this.#dropLeastUsed()) throw new AppError('OVERLOADED', 'Too many answers are being written at the same time.');
    const stream: Stream = { pieces: [], bytes: 0, outcome: null, endedAtMs: 0 };
    this.#streams.set(messageId, stream);
    return stream;
  }

  #markUsed(messageId: string, stream: Stream): void {
    this.#streams.delete(messageId);
    this.#streams.set(messageId, stream);
  }

  #makeRoom(bytes: number): void {
    while (this.#bytes + bytes > this.#bytesMax) {
      if (!this.#dropLeastUsed()) throw new AppError('OVERLOADED', 'The answers that are being written are too long to be held.');
    }
  }

  /** Only an ended stream may go: its text is in the database. */
  #dropLeastUsed(): boolean {
    for (const [messageId, stream] of this.#streams) {
      if (!stream.outcome) continue;
      this.#drop(messageId, stream);
      return true;
    }
    return false;
  }

  #drop(messageId: string, stream: Stream): void {
    this.#streams.delete(messageId);
    this.#bytes -= stream.bytes;
    this.#wake(messageId);
  }

  #wake(messageId: string): void {
    const waiters = this.#waiters.get(messageId);
    if (!waiters) return;
    this.#waiters.delete(messageId);
    for (const wake of waiters) wake();
  }

  #sweep(): void {
    const now = this.#clock.monotonicMs();
    for (const [messageId, stream] of this.#streams) {
      if (stream.outcome && now - stream.endedAtMs >= this.#keepEndedMs) this.#drop(messageId, stream);
    }
  }

  #planSweep(): void {
    this.#sweeper ??= setTimeout(() => {
      this.#sweeper = undefined;
      this.#sweep();
      if ([...this.#streams.values()].some((stream) => stream.outcome)) this.#planSweep();
    }, this.#keepEndedMs).unref();
  }
}

type ReaderOptions = { messageId: string; after: number; signal: AbortSignal };

/** Holds a position and nothing else. */
class Reader implements AsyncIterableIterator<StreamEntry> {
  readonly #stream: MemoryTokenStream;
  readonly #options: ReaderOptions;
  readonly #endings = new Set<() => void>();
  #position: number;
  #seen = false;
  #done = false;
  #entriesInTurn = 0;

  constructor(stream: MemoryTokenStream, options: ReaderOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#position = Math.max(-1, options.after);
  }

  async next(): Promise<IteratorResult<StreamEntry>> {
    const { messageId, signal } = this.#options;
    // Neither a stored entry nor a write that the system takes at once waits for anything.
    if (this.#entriesInTurn >= entriesPerTurn) {
      this.#entriesInTurn = 0;
      await nextTurn();
    }
    while (!this.#done && !signal.aborted) {
      const entry = this.#stream.peek(messageId, this.#position);
      // One that was never seen may still begin; one that was seen has been forgotten meanwhile.
      if (entry === 'gone' && this.#seen) break;
      if (entry !== 'gone') this.#seen = true;
      if (typeof entry === 'object') {
        this.#position = entry.index;
        this.#done = entry.type === 'end';
        this.#entriesInTurn += 1;
        return { done: false, value: entry };
      }
      await this.#change();
    }
    this.#done = true;
    return { done: true, value: undefined };
  }

  return(): Promise<IteratorResult<StreamEntry>> {
    this.#done = true;
    for (const end of this.#endings) end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #change(): Promise<void> {
    const { messageId, signal } = this.#options;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    const wake = (): void => resolve(undefined);
    const forget = this.#stream.waitFor(messageId, wake);
    signal.addEventListener('abort', wake, { once: true });
    this.#endings.add(wake);
    try {
      await promise;
    } finally {
      forget();
      signal.removeEventListener('abort', wake);
      this.#endings.delete(wake);
    }
  }
}
