import { sleep } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';

export type WaitOptions<T> = {
  /** For the log, e.g. `PostgreSQL at host:5432`. */
  what: string;
  logger: Logger;
  attempt: (signal: AbortSignal) => Promise<T>;
  /** Waiting cannot mend this: it is thrown. */
  isHopeless: (error: unknown) => boolean;
  attemptTimeoutMs: number;
};

const pauseMsMin = 250;
const pauseMsMax = 5_000;
/** One line at the beginning, and now and then one for whoever looks at the end of a long log. */
const tellAgainMs = 60_000;

/** Tries until it works, with growing pauses; rejects with the signal's reason at once when it aborts. */
export async function waitUntilThere<T>(options: WaitOptions<T>, signal: AbortSignal): Promise<T> {
  const { what, logger, attempt, isHopeless, attemptTimeoutMs } = options;
  let toldAtMs: number | null = null;
  for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    try {
      const value = await attempt(AbortSignal.any([signal, AbortSignal.timeout(attemptTimeoutMs)]));
      if (toldAtMs !== null) logger.info({}, `${what} is there; going on`);
      return value;
    } catch (error) {
      signal.throwIfAborted();
      if (isHopeless(error)) throw error;
      if (toldAtMs === null || performance.now() - toldAtMs > tellAgainMs) {
        toldAtMs = performance.now();
        logger.warn({ reason: reasonOf(error) }, `${what} cannot be reached; waiting for it`);
      }
      await sleep(pauseMs, signal);
    }
  }
}

function reasonOf(error: unknown): string {
  const { message, code } = error as NodeJS.ErrnoException;
  return message || (code ?? String(error));
}
