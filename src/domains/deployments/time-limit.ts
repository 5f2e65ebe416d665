import { abortable } from '../../shared/async.ts';

/** Why `withTimeLimit` gave up; callers turn it into words of their own. */
export class TimeLimitExceeded extends Error {
  override readonly name = 'TimeLimitExceeded';

  constructor(limitMs: number) {
    super(`took longer than ${limitMs} ms`);
  }
}

/** Runs `work` with a signal that also aborts after `limitMs`. Rejects then, even where `work` ignores its signal. */
export async function withTimeLimit<T>(limitMs: number, signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => controller.abort(new TimeLimitExceeded(limitMs)), limitMs);
  try {
    return await abortable(work(controller.signal), controller.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
