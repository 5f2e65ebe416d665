import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DownloadRepository, FileRow } from './download.repository.ts';
import type { FiguresBoard } from './figures-board.ts';
import { LiveTask } from './live-task.ts';

export type LiveParts = { repository: DownloadRepository; board: FiguresBoard; events: EventBus; clock: Clock; logger: Logger };

/** The moving figures of a task, told to everybody and stored now and then. `close` it. */
export function openLiveTask({ repository, board, events, clock, logger }: LiveParts, taskId: string, files: readonly FileRow[]): LiveTask {
  return new LiveTask({
    files,
    clock,
    publish: (progress) => {
      board.set(taskId, progress);
      events.publish('download.progress', taskId, { taskId, progress });
    },
    save: async (figures) => {
      try {
        await repository.saveFigures(taskId, figures);
        return true;
      } catch (error) {
        logger.warn({ taskId, error }, 'the figures of a download could not be stored; it goes on');
        return false;
      }
    },
  });
}
