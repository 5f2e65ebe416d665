import type { Clock } from '../../../shared/clock.ts';

type Waiter = { grant: () => void };
type Host = { taken: number; waiters: Waiter[]; quietUntilMs: number };

/**
 * How many connections all transfers together hold to one host. First come, first served, and given back after each
 * part: so two files share a host fairly, and none waits for the whole of the other. Hosts are forgotten when idle.
 */
export class HostSlots {
  readonly #clock: Clock;
  readonly #max: number;
  readonly #hosts = new Map<string, Host>();

  constructor(clock: Clock, max: number) {
    this.#clock = clock;
    this.#max = max;
  }

  /** Resolves with the function that gives the slot back; waits while the host wants to be left alone. */
  async acquire(host: string, signal: AbortSignal): Promise<() => void> {
    await this.#slot(host, signal);
    let isHeld = true;
    const release = (): void => {
      if (isHeld) this.#release(host);
      isHeld = false;
    };
    try {
      for (;;) {
        const waitMs = this.#host(host).quietUntilMs - this.#clock.monotonicMs();
        if (waitMs <= 0) return release;
        await this.#clock.sleep(waitMs, signal);
      }
    } catch (error) {
      release();
      throw error;
    }
  }

  /** The host said that it wants no requests for a while: that holds for every transfer. */
  quiet(host: string, waitMs: number): void {
    const known = this.#host(host);
    known.quietUntilMs = Math.max(known.quietUntilMs, this.#clock.monotonicMs() + waitMs);
  }

  #host(name: string): Host {
    const known = this.#hosts.get(name);
    if (known) return known;
    const host: Host = { taken: 0, waiters: [], quietUntilMs: -Infinity };
    this.#hosts.set(name, host);
    return host;
  }

  async #slot(name: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const host = this.#host(name);
    if (host.taken < this.#max) {
      host.taken += 1;
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const waiter: Waiter = { grant: () => resolve(undefined) };
    const onAbort = (): void => {
      host.waiters = host.waiters.filter((other) => other !== waiter);
      reject(signal.reason as Error);
    };
    host.waiters.push(waiter);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #release(name: string): void {
    const host = this.#host(name);
    const next = host.waiters.shift();
    // The slot goes over without being free in between.
    if (next) next.grant();
    else host.taken -= 1;
    if (host.taken === 0 && host.quietUntilMs <= this.#clock.monotonicMs()) this.#hosts.delete(name);
  }
}
