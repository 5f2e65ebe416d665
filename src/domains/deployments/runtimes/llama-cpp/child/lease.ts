/**
 * How long an engine goes on without the service that started it. Held while that service is there; from then on
 * another one has to renew it, or the engine ends itself.
 */
export class Lease {
  readonly #graceMs: number;
  readonly #onExpired: () => void;
  #releaseMs: number | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(graceMs: number, onExpired: () => void) {
    this.#graceMs = graceMs;
    this.#onExpired = onExpired;
  }

  /** Its service has said how long it shall wait for the next one. */
  releaseFor(graceMs: number): void {
    this.#releaseMs = graceMs;
  }

  /** Its service is gone. Answers how long it waits, in milliseconds. */
  orphan(): number {
    const ms = this.#releaseMs ?? this.#graceMs;
    this.#wait(ms);
    return ms;
  }

  /** A service that is not its parent holds it. */
  renew(graceMs = this.#graceMs): void {
    // Its parent is still there: that holds it better.
    if (this.#timer) this.#wait(graceMs);
  }

  #wait(ms: number): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = setTimeout(this.#onExpired, ms);
  }
}
