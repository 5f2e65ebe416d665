import type { Take } from '../../shared/push-stream.ts';
import type { StreamEntry } from '../../shared/token-stream.ts';

/** What a reader walks along. */
export type ReadableEntries = {
  /** The entry after `after`; `later` when it has not been written yet, `gone` when there is no stream. */
  peek(messageId: string, after: number): StreamEntry | 'later' | 'gone';
  /** Calls `wake` at every change until the returned function is called. */
  follow(messageId: string, wake: () => void): () => void;
};

export type Place = { messageId: string; after: number };

/** A reader that catches up with a long answer lets everything else of this process have its turn after so many. */
const entriesPerTurn = 16;

/**
 * Walks along what is stored and what comes, up to the end, the signal, or until the stream is forgotten. Rejects with
 * what `take` threw, which nobody else hears of, not even who has just written the entry.
 */
export async function walkEntries(stream: ReadableEntries, place: Place, take: Take<StreamEntry>, signal: AbortSignal): Promise<void> {
  await new EntryWalk(stream, place, take, signal).ended;
}

/** Holds a position and nothing else: an entry is handed on by whoever has written it, without anybody waiting in between. */
class EntryWalk {
  readonly ended: Promise<void>;
  readonly #settle: Pick<PromiseWithResolvers<undefined>, 'resolve' | 'reject'>;
  readonly #stream: ReadableEntries;
  readonly #messageId: string;
  readonly #take: Take<StreamEntry>;
  readonly #signal: AbortSignal;
  readonly #unfollow: () => void;
  readonly #walk = (): void => this.#walkOn();
  #position: number;
  #seen = false;
  /** In the middle of an entry, or waiting until there is room for the next one. */
  #isBusy = false;
  #isOver = false;
  #entriesInTurn = 0;

  constructor(stream: ReadableEntries, { messageId, after }: Place, take: Take<StreamEntry>, signal: AbortSignal) {
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    this.ended = promise;
    this.#settle = { resolve, reject };
    this.#stream = stream;
    this.#messageId = messageId;
    this.#position = Math.max(-1, after);
    this.#take = take;
    this.#signal = signal;
    this.#unfollow = stream.follow(messageId, this.#walk);
    signal.addEventListener('abort', this.#walk, { once: true });
    this.#walkOn();
  }

  #walkOn(): void {
    if (this.#signal.aborted) this.#finish();
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      while (!this.#isOver) {
        const entry = this.#next();
        if (!entry) break;
        const room = this.#entriesInTurn >= entriesPerTurn ? this.#nextTurn() : this.#hand(entry);
        if (!room) continue;
        room.then(() => this.#goOn(), (error: unknown) => this.#fail(error));
        return;
      }
      this.#isBusy = false;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Null when it has not been written yet, and where nothing will come. */
  #next(): StreamEntry | null {
    const entry = this.#stream.peek(this.#messageId, this.#position);
    if (typeof entry === 'object') {
      this.#seen = true;
      return entry;
    }
    // One that was never seen may still begin; one that was seen has been forgotten meanwhile.
    if (entry === 'gone' && this.#seen) this.#finish();
    if (entry === 'later') this.#seen = true;
    this.#entriesInTurn = 0;
    return null;
  }

  #hand(entry: StreamEntry): Promise<void> | undefined {
    this.#position = entry.index;
    this.#entriesInTurn += 1;
    const room = this.#take(entry);
    if (entry.type !== 'end') return room;
    if (room) return room.then(() => this.#finish());
    this.#finish();
    return undefined;
  }

  /** Neither a stored entry nor a write that the system takes at once waits for anything. */
  #nextTurn(): Promise<void> {
    this.#entriesInTurn = 0;
    return new Promise((resolve) => setImmediate(resolve));
  }

  #goOn(): void {
    this.#isBusy = false;
    this.#walkOn();
  }

  #fail(error: unknown): void {
    this.#settle.reject(error);
    this.#finish();
  }

  #finish(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#unfollow();
    this.#signal.removeEventListener('abort', this.#walk);
    this.#settle.resolve(undefined);
  }
}
