import type { Clock } from '../../shared/clock.ts';
import { isAbort } from '../../shared/abort.ts';
import type { Logger } from '../../shared/logger.ts';

/** Something that would grow for ever; answers how much of it went. */
export type Chore = { name: string; run: () => Promise<number> };

type HousekeepingOptions = { chores: readonly Chore[]; everyMs: number; clock: Clock; logger: Logger };

/** Runs the chores now and then again, one after the other; a failing one is told and tried again the next time. */
export async function keepHouse({ chores, everyMs, clock, logger }: HousekeepingOptions, signal: AbortSignal): Promise<void> {
  for (;;) {
    for (const { name, run } of chores) {
      try {
        const removed = await run();
        if (removed > 0) logger.info({ chore: name, removed }, 'old rows were removed');
      } catch (err) {
        logger.warn({ err, chore: name }, 'a chore failed; it is tried again the next time');
      }
    }
    try {
      await clock.sleep(everyMs, signal);
    } catch (error) {
      if (isAbort(error)) return;
      throw error;
    }
  }
}
