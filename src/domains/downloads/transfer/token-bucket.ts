import type { Clock } from '../../../shared/clock.ts';

/** Waiters look again this often, so that a changed limit is felt at once. */
const lookAgainMs = 100;
/** What may come at once: enough that a slow limit still moves in whole network buffers. */
const burstMs = 200;
const burstBytesMin = 64 * 1024;

/** Limits how many bytes pass in a second; `null` = no limit. Changeable while transfers run. */
export class TokenBucket {
  readonly #clock: Clock;
  #bytesPerSecond: number | null;
  #tokens = 0;
  #filledAtMs: number;

  constructor(clock: Clock, bytesPerSecond: number | null) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#filledAtMs = clock.monotonicMs();
  }

  get bytesPerSecond(): number | null {
    return this.#bytesPerSecond;
  }

  setLimit(bytesPerSecond: number | null): void {
    this.#fill();
    this.#bytesPerSecond = bytesPerSecond;
    // A debt made under another limit would be paid off for too long or too short a time.
    this.#tokens = 0;
  }

  /** Counts `bytes` that have come, and waits until they may have: the debt of one piece delays the next one. */
  async take(bytes: number, signal: AbortSignal): Promise<void> {
    if (this.#bytesPerSecond === null) return;
    this.#fill();
    this.#tokens -= bytes;
    for (let waitMs = this.#debtMs(); waitMs > 0; waitMs = this.#debtMs()) {
      await this.#clock.sleep(Math.min(lookAgainMs, Math.max(1, waitMs)), signal);
      this.#fill();
    }
  }

  #debtMs(): number {
    return this.#bytesPerSecond === null || this.#tokens >= 0 ? 0 : (-this.#tokens / this.#bytesPerSecond) * 1000;
  }

  #fill(): void {
    const nowMs = this.#clock.monotonicMs();
    const limit = this.#bytesPerSecond;
    const elapsedMs = nowMs - this.#filledAtMs;
    this.#filledAtMs = nowMs;
    if (limit === null) return;
    const burst = Math.max(burstBytesMin, (limit * burstMs) / 1000);
    this.#tokens = Math.min(burst, this.#tokens + (limit * elapsedMs) / 1000);
  }
}
