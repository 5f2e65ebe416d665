import { abortable, createGate, type Gate } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import type { UseOutcome } from './types.ts';

/** Who uses a deployment's engine now, and since when nobody does. */
export class Usage {
  readonly #clock: Clock;
  #inFlight = 0;
  #isUsed = false;
  #lastAtMs: number;
  #succeededAtMs: number | null = null;
  #ended: Gate = createGate();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastAtMs = clock.monotonicMs();
  }

  get isBusy(): boolean {
    return this.#inFlight > 0;
  }

  /** When it was last used or loaded, on the monotonic clock. */
  get lastAtMs(): number {
    return this.isBusy ? this.#clock.monotonicMs() : this.#lastAtMs;
  }

  /** Opens with the next end of a use. */
  get nextEnd(): Promise<void> {
    return this.#ended.opened;
  }

  /** A new engine is there: its time without use begins now. */
  loaded(): void {
    this.#isUsed = false;
    this.#succeededAtMs = null;
    this.touch();
  }

  touch(): void {
    this.#lastAtMs = this.#clock.monotonicMs();
  }

  /** Answers what ends this use. */
  begin(): (outcome: UseOutcome) => void {
    this.#inFlight += 1;
    let isOver = false;
    return (outcome) => {
      if (isOver) return;
      isOver = true;
      this.#inFlight -= 1;
      this.touch();
      if (outcome !== 'unused') this.#isUsed = true;
      if (outcome === 'succeeded') this.#succeededAtMs = this.#clock.monotonicMs();
      const gate = this.#ended;
      this.#ended = createGate();
      gate.open();
    };
  }

  /** Whether an answer was complete in the last `ms`: then a probe would tell nothing new. */
  succeededWithin(ms: number): boolean {
    return this.#succeededAtMs !== null && this.#clock.monotonicMs() - this.#succeededAtMs < ms;
  }

  /** Resolves once nobody has used it for so long; with 0 right after a use, and not before the first one. */
  async idleFor(ms: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      const { opened } = this.#ended;
      const leftMs = this.#lastAtMs + ms - this.#clock.monotonicMs();
      if (this.isBusy || (ms === 0 && !this.#isUsed)) await abortable(opened, signal);
      else if (leftMs > 0) await this.#clock.sleep(leftMs, signal);
      else return;
    }
  }
}
