import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import { activeStatuses } from './download.machine.ts';
import type { FiguresBoard } from './figures-board.ts';
import type { SpeedLimitRepository } from './speed-limit.repository.ts';
import type { TaskRunner } from './task-runner.ts';
import type { TokenBucket } from './transfer/token-bucket.ts';

/** Other processes' figures; this one's are on the board already. */
export function followFigures(events: EventBus, board: FiguresBoard, signal: AbortSignal, logger: Logger): void {
  const follow = async (): Promise<void> => {
    for await (const delivery of events.subscribe('download.progress', { delivery: 'latest' }, signal)) {
      if (delivery.type === 'event') board.set(delivery.payload.taskId, delivery.payload.progress);
    }
  };
  const forget = async (): Promise<void> => {
    for await (const delivery of events.subscribe('download.changed', { delivery: 'all' }, signal)) {
      if (delivery.type === 'event' && !activeStatuses.some((status) => status === delivery.payload.status)) board.delete(delivery.payload.taskId);
    }
  };
  for (const work of [follow(), forget()]) work.catch((error: unknown) => logger.error({ error }, 'figures of running downloads are followed no longer'));
}

export type LimitedParts = { /** Over all tasks. */ limit: TokenBucket; storedLimit: SpeedLimitRepository; runner: TaskRunner };

/**
 * Goes by limits that are changed here or in another process, until the signal aborts. Resolves when the one over all
 * tasks that holds now is in force; changes are heard before it is read, so that none is lost in between.
 */
export async function followLimits(events: EventBus, { limit, storedLimit, runner }: LimitedParts, signal: AbortSignal, logger: Logger): Promise<void> {
  let changes = 0;
  const changed = events.subscribe('download.limited', { delivery: 'all' }, signal);
  const readStored = async (): Promise<void> => {
    const before = changes;
    const stored = await storedLimit.read();
    // What was heard meanwhile is newer.
    if (changes === before) limit.setLimit(stored);
  };
  const catchUp = async (): Promise<void> => {
    try {
      await readStored();
      await runner.readLimits();
    } catch (error) {
      logger.warn({ error }, 'limits of downloads could not be read again; changes that were missed are not felt');
    }
  };
  const follow = async (): Promise<void> => {
    for await (const delivery of changed) {
      if (delivery.type === 'resync') {
        void catchUp();
        continue;
      }
      const { taskId, maxBytesPerSecond } = delivery.payload;
      if (taskId !== null) runner.setLimit(taskId, maxBytesPerSecond);
      else {
        changes += 1;
        limit.setLimit(maxBytesPerSecond);
      }
    }
  };
  follow().catch((error: unknown) => logger.error({ error }, 'limits of downloads are followed no longer'));
  await readStored();
}
