import { sleep } from '../shared/async.ts';
import type { Clock } from '../shared/clock.ts';

/** The machine's own time. */
export const systemClock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sleep,
};
