import { StopReason } from '../../shared/abort.ts';
import type { Logger } from '../../shared/logger.ts';

/** Ends one thing. The signal aborts at the deadline of the whole shutdown. */
export type Close = (signal: AbortSignal) => Promise<void> | void;

/**
 * Shutdown is creation in reverse: whoever creates something defers its end here, and `stop` runs the ends last
 * first under one deadline. A failing end is logged and does not keep the others from theirs.
 */
export class Runner {
  readonly #closers: { name: string; close: Close }[] = [];
  readonly #logger: Logger;
  readonly #hurried = new AbortController();
  #stopping: Promise<boolean> | null = null;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  defer(name: string, close: Close): void {
    this.#closers.push({ name, close });
  }

  /** Answers whether everything ended without a fault; a second call joins the first. */
  async stop(deadlineMs: number): Promise<boolean> {
    this.#stopping ??= this.#closeAll(AbortSignal.any([AbortSignal.timeout(deadlineMs), this.#hurried.signal]));
    return await this.#stopping;
  }

  /** Brings the deadline of a stop, running or to come, to now. */
  hurry(): void {
    this.#hurried.abort(new StopReason('shutdown'));
  }

  async #closeAll(signal: AbortSignal): Promise<boolean> {
    let isClean = true;
    for (const { name, close } of this.#closers.toReversed()) {
      const startedAt = performance.now();
      try {
        await close(signal);
        this.#logger.debug({ part: name, durationMs: Math.round(performance.now() - startedAt) }, 'stopped');
      } catch (err) {
        isClean = false;
        this.#logger.error({ err, part: name }, 'did not stop cleanly');
      }
    }
    return isClean;
  }
}
