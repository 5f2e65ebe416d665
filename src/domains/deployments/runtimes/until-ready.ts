import { sleep } from '../../../shared/async.ts';

/** Loads take milliseconds to minutes: asked often at first, then less. */
const pollMs = { first: 20, max: 250 };

/**
 * Asks again and again until something is answered; an error counts as null. Rejects as `ended` does when the server
 * that is asked is no more, or with the signal's reason; a question that is open then is given up.
 */
export async function untilReady<T>(ask: (signal: AbortSignal) => Promise<T | null>, ended: Promise<never>, signal: AbortSignal): Promise<T> {
  const over = new AbortController();
  const asking = AbortSignal.any([signal, over.signal]);
  ended.catch(() => undefined);
  try {
    for (let waitMs = pollMs.first; ; waitMs = Math.min(waitMs * 2, pollMs.max)) {
      const answer = await Promise.race([ask(asking).catch(() => null), ended]);
      signal.throwIfAborted();
      if (answer !== null) return answer;
      await Promise.race([sleep(waitMs, asking), ended]);
    }
  } finally {
    // Whatever else listens on its port may hold a question for good.
    over.abort();
  }
}
