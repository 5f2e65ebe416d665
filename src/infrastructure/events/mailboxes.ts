import type { Mailbox } from './subscription.ts';

/** Keeps everything up to `max`; then the oldest go, and the next delivery tells how many went. */
export function createQueueMailbox<E>(max: number): Mailbox<E> {
  // A ring: shifting an array of a thousand for every event of a stalled subscriber would cost more than the event.
  const slots: (E | undefined)[] = [];
  let first = 0;
  let count = 0;
  let dropped = 0;
  return {
    add: (_key, event) => {
      if (count === max) {
        slots[first] = event;
        first = (first + 1) % max;
        dropped += 1;
        return;
      }
      slots[(first + count) % max] = event;
      count += 1;
    },
    take: () => {
      if (count === 0) return null;
      // Within `count` of `first`, so it was written by `add`.
      const event = slots[first] as E;
      slots[first] = undefined;
      first = (first + 1) % max;
      count -= 1;
      const droppedBefore = dropped;
      dropped = 0;
      return { event, droppedBefore };
    },
    clear: () => {
      slots.length = 0;
      count = 0;
    },
  };
}

export type LatestOptions = { minIntervalMs: number; keysMax: number; nowMs: () => number };

/**
 * Keeps the newest event per key, in the order in which the keys began to wait. A key that was delivered less than
 * `minIntervalMs` ago waits on, its event being replaced meanwhile.
 */
export function createLatestMailbox<E>(options: LatestOptions): Mailbox<E> {
  const { minIntervalMs, keysMax, nowMs } = options;
  const waiting = new Map<string, E>();
  const deliveredAt = new Map<string, number>();
  let dropped = 0;
  const forgetOldDeliveries = (now: number): void => {
    // Insertion order is order of delivery, so the old ones come first.
    for (const [key, at] of deliveredAt) {
      if (now - at < minIntervalMs) return;
      deliveredAt.delete(key);
    }
  };
  return {
    add: (key, event) => {
      if (!waiting.has(key) && waiting.size === keysMax) {
        const oldest = waiting.keys().next();
        if (!oldest.done) waiting.delete(oldest.value);
        dropped += 1;
      }
      waiting.set(key, event);
    },
    take: () => {
      const now = nowMs();
      forgetOldDeliveries(now);
      let soonest = Infinity;
      for (const [key, event] of waiting) {
        const at = deliveredAt.get(key);
        if (at !== undefined) {
          soonest = Math.min(soonest, at + minIntervalMs - now);
          continue;
        }
        waiting.delete(key);
        if (minIntervalMs > 0) deliveredAt.set(key, now);
        const droppedBefore = dropped;
        dropped = 0;
        return { event, droppedBefore };
      }
      return soonest === Infinity ? null : { waitMs: Math.max(1, Math.ceil(soonest)) };
    },
    clear: () => {
      waiting.clear();
      deliveredAt.clear();
    },
  };
}
