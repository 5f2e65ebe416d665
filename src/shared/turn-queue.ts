/**
 * Lets those who wait go on one by one, each in a turn of the event loop of its own, in the order in which they came.
 * For work that comes in crowds and that nobody waits for by the millisecond: what else has come, the tokens of others
 * above all, is dealt with between one and the next. Nothing is held back longer than that.
 */
export class TurnQueue {
  readonly #waiting: (() => void)[] = [];

  async next(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<undefined>();
    if (this.#waiting.push(() => resolve(undefined)) === 1) setImmediate(() => this.#letOneGo());
    await promise;
  }

  #letOneGo(): void {
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) setImmediate(() => this.#letOneGo());
  }
}
