import { LRUCache } from 'lru-cache';
import type { Clock } from '../../shared/clock.ts';
import type { Principal } from '../../shared/principal.ts';

export type VerifiedKey = { principal: Principal; expiresAt: Date | null };

/** Short, so that a revocation whose event was lost between processes is noticed all the same. */
const ttlMs = 3_000;
const keysMax = 1_000;

/**
 * Keys that the database has confirmed a moment ago, by the hash of the whole key. Only good keys are held, so a
 * flood of bad ones pushes nothing out.
 */
export class VerifiedKeys {
  readonly #byHash: LRUCache<string, VerifiedKey>;
  #epoch = 0;

  constructor(clock: Clock) {
    this.#byHash = new LRUCache({ max: keysMax, ttl: ttlMs, ttlResolution: 0, perf: { now: () => clock.monotonicMs() } });
  }

  find(hash: string): VerifiedKey | undefined {
    return this.#byHash.get(hash);
  }

  /** Taken before the database is read and handed back to `remember`. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Does nothing when a key was changed since `epoch`: what was read may be the state before that change. */
  remember(hash: string, verified: VerifiedKey, epoch: number): void {
    if (epoch === this.#epoch) this.#byHash.set(hash, verified);
  }

  forget(keyId: string): void {
    this.#epoch += 1;
    for (const [hash, verified] of this.#byHash.entries()) {
      if (verified.principal.keyId === keyId) this.#byHash.delete(hash);
    }
  }

  forgetAll(): void {
    this.#epoch += 1;
    this.#byHash.clear();
  }
}
