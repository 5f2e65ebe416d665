import type { Clock } from './clock.ts';

/** `load`, asked again only when its answer is older than `maxAgeMs`; callers meanwhile share one answer, failures not. */
export function rememberFor<T>(maxAgeMs: number, clock: Pick<Clock, 'monotonicMs'>, load: () => Promise<T>): () => Promise<T> {
  let last: { atMs: number; answer: Promise<T> } | null = null;
  return async () => {
    if (last && clock.monotonicMs() - last.atMs <= maxAgeMs) return await last.answer;
    const mine = { atMs: clock.monotonicMs(), answer: load() };
    last = mine;
    try {
      return await mine.answer;
    } catch (error) {
      if (last === mine) last = null;
      throw error;
    }
  };
}
