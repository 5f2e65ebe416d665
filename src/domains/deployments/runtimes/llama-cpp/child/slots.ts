/** Thrown by `take` when as many wait as may. */
export class QueueFullError extends Error {
  override readonly name = 'QueueFullError';
}

type Waiter<T> = { resolve: (slot: T) => void };

/** Hands out a fixed set of slots; who comes when none is free waits in line, first come, first served. */
export class SlotQueue<T> {
  readonly #idle: T[];
  readonly #waiting: Waiter<T>[] = [];
  readonly #queueMax: number;
  #busyCount = 0;

  constructor(slots: readonly T[], queueMax: number) {
    this.#idle = [...slots];
    this.#queueMax = queueMax;
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  get busyCount(): number {
    return this.#busyCount;
  }

  get waitingCount(): number {
    return this.#waiting.length;
  }

  /**
   * A slot, which the caller gives back; `prefer` rates the free ones when there is a choice, the highest wins and
   * among equals the one that has rested longest. Rejects with the signal's reason when it aborts first.
   */
  async take(prefer: (slot: T) => number, signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const best = this.#idle.reduce<{ index: number; score: number } | undefined>((found, slot, index) => {
      const score = prefer(slot);
      return found === undefined || score > found.score ? { index, score } : found;
    }, undefined);
    const [slot] = best === undefined ? [] : this.#idle.splice(best.index, 1);
    if (slot !== undefined) {
      this.#busyCount++;
      return slot;
    }
    if (this.#waiting.length >= this.#queueMax) throw new QueueFullError('The queue is full.');
    return await this.#wait(signal);
  }

  give(slot: T): void {
    const next = this.#waiting.shift();
    if (next) {
      next.resolve(slot);
      return;
    }
    this.#busyCount--;
    this.#idle.push(slot);
  }

  async #wait(signal: AbortSignal): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const waiter: Waiter<T> = { resolve };
    const onAbort = (): void => {
      const index = this.#waiting.indexOf(waiter);
      if (index < 0) return;
      this.#waiting.splice(index, 1);
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    this.#waiting.push(waiter);
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
