import type { Clock } from '../../../shared/clock.ts';

type Waiter = { owner: string; grant: () => void };
type Host = { taken: number; /** Slots by owner; only of those that hold one. */ held: Map<string, number>; waiters: Waiter[]; quietUntilMs: number };

/**
 * How many connections all transfers together hold to one host. They are given back after each part, and the next one
 * goes to the owner that has the fewest: so tasks share a host evenly, however many files and connections each would
 * like, and none waits for the whole of another. Hosts are forgotten when idle.
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
  async acquire(host: string, owner: string, signal: AbortSignal): Promise<() => void> {
    await this.#slot(host, owner, signal);
    let isHeld = true;
    const release = (): void => {
      if (isHeld) this.#release(host, owner);
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
    const host: Host = { taken: 0, held: new Map(), waiters: [], quietUntilMs: -Infinity };
    this.#hosts.set(name, host);
    return host;
  }

  async #slot(name: string, owner: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const host = this.#host(name);
    if (host.taken < this.#max) {
      host.taken += 1;
      count(host, owner, 1);
      return;
    }
    const { promise, resolve, reject } = Promise.withResolvers<undefined>();
    const waiter: Waiter = { owner, grant: () => resolve(undefined) };
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

  #release(name: string, owner: string): void {
    const host = this.#host(name);
    count(host, owner, -1);
    const next = takeNext(host);
    // The slot goes over without being free in between.
    if (next) {
      count(host, next.owner, 1);
      next.grant();
    } else host.taken -= 1;
    if (host.taken === 0 && host.quietUntilMs <= this.#clock.monotonicMs()) this.#hosts.delete(name);
  }
}

function count({ held }: Host, owner: string, change: 1 | -1): void {
  const slots = (held.get(owner) ?? 0) + change;
  if (slots > 0) held.set(owner, slots);
  else held.delete(owner);
}

/** Of those who have the fewest slots the one that waits longest. */
function takeNext(host: Host): Waiter | undefined {
  const heldBy = ({ owner }: Waiter): number => host.held.get(owner) ?? 0;
  let next = host.waiters[0];
  for (const waiter of host.waiters) if (next && heldBy(waiter) < heldBy(next)) next = waiter;
  host.waiters = host.waiters.filter((waiter) => waiter !== next);
  return next;
}
