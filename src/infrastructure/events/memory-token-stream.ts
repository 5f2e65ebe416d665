import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import { PushStream } from '../../shared/push-stream.ts';
import type { StreamEnd, StreamEntry, StreamPiece, TokenStream } from '../../shared/token-stream.ts';
import { walkEntries } from './stored-entries.ts';

export type MemoryTokenStreamOptions = {
  clock: Clock;
  /** An ended stream stays readable this long; default 10 minutes. */
  keepEndedMs?: number;
  messagesMax?: number;
  piecesMax?: number;
  /** Of all streams together, counted as UTF-16; ended streams go first that were read longest ago. */
  bytesMax?: number;
};

type Stream = {
  pieces: string[];
  /** One object for all readers that are at the newest piece: what they make of it need be made once. */
  newest: StreamPiece | null;
  bytes: number;
  outcome: StreamEnd['outcome'] | null;
  endedAtMs: number;
};

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
  /** Whoever reads a message, also one that has no entry yet. */
  readonly #followers = new Map<string, Set<() => void>>();
  #bytes = 0;
  #sweeper: NodeJS.Timeout | undefined;

  constructor(options: MemoryTokenStreamOptions) {
    this.#clock = options.clock;
    this.#keepEndedMs = options.keepEndedMs ?? 10 * 60_000;
    this.#messagesMax = options.messagesMax ?? 1_000;
    this.#piecesMax = options.piecesMax ?? 200_000;
    this.#bytesMax = options.bytesMax ?? 64 * 1024 * 1024;
  }

  append(messageId: string, text: string): number {
    const stream = this.#streams.get(messageId) ?? this.#open(messageId);
    if (stream.outcome) throw new Error(`the stream of message ${messageId} has ended`);
    if (stream.pieces.length >= this.#piecesMax) throw new AppError('OVERLOADED', 'The answer has more pieces than a stream can hold.');
    const bytes = text.length * 2 + pieceOverheadBytes;
    this.#makeRoom(bytes);
    const index = stream.pieces.push(text) - 1;
    stream.newest = { type: 'piece', index, text };
    stream.bytes += bytes;
    this.#bytes += bytes;
    this.#wake(messageId);
    return index;
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
    const stream = this.#streams.get(messageId);
    if (stream && this.#isOver(stream)) this.#drop(messageId, stream);
    return Promise.resolve(this.#streams.has(messageId));
  }

  read(messageId: string, after: number): PushStream<StreamEntry> {
    return new PushStream((take, signal) => walkEntries(this, { messageId, after }, take, signal));
  }

  /** Forgets everything; readers that wait end with their signals. */
  close(): void {
    clearTimeout(this.#sweeper);
    this.#streams.clear();
    this.#bytes = 0;
    for (const messageId of [...this.#followers.keys()]) this.#wake(messageId);
  }

  /** The entry after `after`; `later` when it has not been written yet, `gone` when there is no stream. For readers. */
  peek(messageId: string, after: number): StreamEntry | 'later' | 'gone' {
    const stream = this.#streams.get(messageId);
    if (!stream) return 'gone';
    if (stream.outcome) this.#markUsed(messageId, stream);
    if (stream.newest?.index === after + 1) return stream.newest;
    const text = stream.pieces[after + 1];
    if (text !== undefined) return { type: 'piece', index: after + 1, text };
    return stream.outcome ? { type: 'end', index: stream.pieces.length - 1, outcome: stream.outcome } : 'later';
  }

  /** Calls `wake` at every change of the stream until the returned function is called. For readers. */
  follow(messageId: string, wake: () => void): () => void {
    const followers = this.#followers.get(messageId) ?? new Set();
    followers.add(wake);
    this.#followers.set(messageId, followers);
    return () => {
      followers.delete(wake);
      if (followers.size === 0 && this.#followers.get(messageId) === followers) this.#followers.delete(messageId);
    };
  }

  #open(messageId: string): Stream {
    if (this.#streams.size >= this.#messagesMax && !this.#dropLeastUsed()) throw new AppError('OVERLOADED', 'Too many answers are being written at the same time.');
    const stream: Stream = { pieces: [], newest: null, bytes: 0, outcome: null, endedAtMs: 0 };
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
    for (const wake of this.#followers.get(messageId) ?? []) wake();
  }

  #isOver({ outcome, endedAtMs }: Stream): boolean {
    return outcome !== null && this.#clock.monotonicMs() - endedAtMs >= this.#keepEndedMs;
  }

  #sweep(): void {
    for (const [messageId, stream] of this.#streams) if (this.#isOver(stream)) this.#drop(messageId, stream);
  }

  #planSweep(): void {
    this.#sweeper ??= setTimeout(() => {
      this.#sweeper = undefined;
      this.#sweep();
      if ([...this.#streams.values()].some((stream) => stream.outcome)) this.#planSweep();
    }, this.#keepEndedMs).unref();
  }
}
