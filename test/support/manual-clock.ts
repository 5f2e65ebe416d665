import type { Clock } from '../../src/shared/clock.ts';
import { eventually } from './eventually.ts';

export type ManualClock = Clock & {
  /** Moves the time on and wakes whoever's sleep is over. */
  advance(durationMs: number): void;
  /** Waits until somebody sleeps for exactly so long, then lets that time pass. */
  passSleepOf(durationMs: number): Promise<void>;
  /** Durations of the sleeps that go on. */
  sleeps(): readonly number[];
};

type Sleeper = { durationMs: number; wakeAtMs: number; wake: () => void };

/** A clock that stands still until a test moves it. */
export function createManualClock(startsAt = new Date('2026-01-01T00:00:00.000Z')): ManualClock {
  let nowMs = 0;
  const sleepers = new Set<Sleeper>();
  const advance = (durationMs: number): void => {
    nowMs += durationMs;
    for (const sleeper of [...sleepers]) if (sleeper.wakeAtMs <= nowMs) sleeper.wake();
  };
  const sleeps = (): readonly number[] => [...sleepers].map((sleeper) => sleeper.durationMs);
  return {
    now: () => new Date(startsAt.getTime() + nowMs),
    monotonicMs: () => nowMs,
    sleep: async (durationMs, signal) => {
      signal?.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      const sleeper = { durationMs, wakeAtMs: nowMs + durationMs, wake: () => resolve(undefined) };
      const onAbort = (): void => reject(signal?.reason as Error);
      sleepers.add(sleeper);
      signal?.addEventListener('abort', onAbort, { once: true });
      try {
        await promise;
      } finally {
        sleepers.delete(sleeper);
        signal?.removeEventListener('abort', onAbort);
      }
    },
    advance,
    passSleepOf: async (durationMs) => {
      await eventually(`somebody sleeps ${durationMs} ms, not only ${sleeps().join(', ')}`, () => sleeps().includes(durationMs));
      advance(durationMs);
    },
    sleeps,
  };
}
