import { setImmediate as nextTurn } from 'node:timers/promises';
import type { StreamEntry } from '../../shared/token-stream.ts';

/** What a reader walks along. */
export type ReadableEntries = {
  /** The entry after `after`; `later` when it has not been written yet, `gone` when there is no stream. */
  peek(messageId: string, after: number): StreamEntry | 'later' | 'gone';
  /** Calls `wake` at every change until the returned function is called. */
  follow(messageId: string, wake: () => void): () => void;
};

type ReaderOptions = { messageId: string; after: number; signal: AbortSignal };

/** A reader that catches up with a long answer lets everything else of this process have its turn after so many. */
const entriesPerTurn = 16;
const over: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** Holds a position and nothing else. Where an entry is there it is answered without waiting for anything. */
export class MemoryStreamReader implements AsyncIterableIterator<StreamEntry> {
  readonly #stream: ReadableEntries;
  readonly #options: ReaderOptions;
  readonly #unfollow: () => void;
  readonly #wake = (): void => this.#change?.();
  readonly #end = (): void => {
    this.#finish();
    this.#wake();
  };
  /** Set while `next` waits. */
  #change: (() => void) | null = null;
  #position: number;
  #seen = false;
  #done = false;
  #entriesInTurn = 0;

  constructor(stream: ReadableEntries, options: ReaderOptions) {
    this.#stream = stream;
    this.#options = options;
    this.#position = Math.max(-1, options.after);
    this.#unfollow = stream.follow(options.messageId, this.#wake);
    options.signal.addEventListener('abort', this.#end, { once: true });
    if (options.signal.aborted) this.#finish();
  }

  next(): Promise<IteratorResult<StreamEntry>> {
    if (this.#entriesInTurn < entriesPerTurn) {
      const result = this.#take();
      if (result) return Promise.resolve(result);
    }
    return this.#wait();
  }

  return(): Promise<IteratorResult<StreamEntry>> {
    this.#end();
    return Promise.resolve(over);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async #wait(): Promise<IteratorResult<StreamEntry>> {
    // Neither a stored entry nor a write that the system takes at once waits for anything.
    if (this.#entriesInTurn >= entriesPerTurn) await nextTurn();
    this.#entriesInTurn = 0;
    for (;;) {
      const result = this.#take();
      if (result) return result;
      await new Promise<void>((resolve) => (this.#change = resolve));
      this.#change = null;
    }
  }

  /** Null when the next entry has not been written yet. */
  #take(): IteratorResult<StreamEntry> | null {
    if (this.#done || this.#options.signal.aborted) return this.#finish();
    const entry = this.#stream.peek(this.#options.messageId, this.#position);
    if (entry === 'later') this.#seen = true;
    // One that was never seen may still begin; one that was seen has been forgotten meanwhile.
    if (entry === 'gone' && this.#seen) return this.#finish();
    if (typeof entry !== 'object') return null;
    this.#seen = true;
    this.#position = entry.index;
    this.#entriesInTurn += 1;
    if (entry.type === 'end') this.#finish();
    return { done: false, value: entry };
  }

  #finish(): IteratorReturnResult<undefined> {
    if (!this.#done) {
      this.#done = true;
      this.#unfollow();
      this.#options.signal.removeEventListener('abort', this.#end);
    }
    return over;
  }
}
