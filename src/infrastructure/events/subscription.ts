/** What a subscriber has not pulled yet; bounded by itself. */
export type Mailbox<E> = {
  add(key: string, event: E): void;
  /** The next event that may be delivered now, or how long to wait; null when nothing waits. */
  take(): { event: E; droppedBefore: number } | { waitMs: number } | null;
  clear(): void;
};

export type SubscriptionOptions<E, D> = {
  mailbox: Mailbox<E>;
  toDelivery: (event: E, droppedBefore: number) => D;
  /** What is delivered in place of events that were lost on their way here. */
  resync: D;
  signal: AbortSignal;
  onEnd: (self: Subscription<E, D>) => void;
};

/** Hands a mailbox's events to one puller; `return()` and the signal end a pending `next()` too. */
export class Subscription<E, D> implements AsyncIterableIterator<D> {
  readonly #mailbox: Mailbox<E>;
  readonly #toDelivery: (event: E, droppedBefore: number) => D;
  readonly #resync: D;
  readonly #onEnd: (self: Subscription<E, D>) => void;
  readonly #signal: AbortSignal;
  readonly #pulls: ((result: IteratorResult<D>) => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #owesResync = false;
  #ended = false;

  constructor(options: SubscriptionOptions<E, D>) {
    this.#mailbox = options.mailbox;
    this.#toDelivery = options.toDelivery;
    this.#resync = options.resync;
    this.#onEnd = options.onEnd;
    this.#signal = options.signal;
    if (this.#signal.aborted) this.end();
    else this.#signal.addEventListener('abort', this.end, { once: true });
  }

  push(key: string, event: E): void {
    if (this.#ended) return;
    this.#mailbox.add(key, event);
    if (this.#pulls.length > 0) this.#serve();
  }

  /** Tells the subscriber, before any event that waits, to read the state again. */
  resync(): void {
    if (this.#ended) return;
    this.#owesResync = true;
    if (this.#pulls.length > 0) this.#serve();
  }

  next(): Promise<IteratorResult<D>> {
    if (this.#ended) return Promise.resolve({ done: true, value: undefined });
    return new Promise((resolve) => {
      this.#pulls.push(resolve);
      this.#serve();
    });
  }

  return(): Promise<IteratorResult<D>> {
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  readonly end = (): void => {
    if (this.#ended) return;
    this.#ended = true;
    this.#signal.removeEventListener('abort', this.end);
    clearTimeout(this.#timer);
    this.#mailbox.clear();
    this.#onEnd(this);
    for (const resolve of this.#pulls.splice(0)) resolve({ done: true, value: undefined });
  };

  #serve(): void {
    clearTimeout(this.#timer);
    while (this.#pulls.length > 0) {
      if (this.#owesResync) {
        this.#owesResync = false;
        this.#pulls.shift()?.({ done: false, value: this.#resync });
        continue;
      }
      const taken = this.#mailbox.take();
      if (!taken) return;
      if ('waitMs' in taken) {
        this.#timer = setTimeout(() => this.#serve(), taken.waitMs).unref();
        return;
      }
      this.#pulls.shift()?.({ done: false, value: this.#toDelivery(taken.event, taken.droppedBefore) });
    }
  }
}
