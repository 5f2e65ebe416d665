import { StopReason, stopCauseOf } from '../../shared/abort.ts';
import type { Clock } from '../../shared/clock.ts';
import { type AppError, isAppError, toStoredError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import { activeStatuses } from './download.machine.ts';
import type { DownloadRepository, TaskRow } from './download.repository.ts';

export type TaskEndingsOptions = {
  repository: DownloadRepository;
  clock: Clock;
  logger: Logger;
  removePartsOf: (task: TaskRow) => Promise<void>;
  /** The task goes on by itself at that time. */
  onRetryAt: (taskId: string, at: Date) => void;
};

/** After an outage: soon at first, then as often as is polite. */
const retryMinMs = 5_000;
const retryMaxMs = 30_000;
/** Runs of one job that end in a fault of ours, before the task counts as failed. */
const faultsMax = 3;
const retryCodes = ['NETWORK_FAILED', 'SOURCE_UNAVAILABLE', 'RATE_LIMITED', 'TIMEOUT', 'OVERLOADED', 'INSUFFICIENT_STORAGE', 'RUNTIME_UNAVAILABLE'] as const;

/** What becomes of a task whose run was stopped or failed. */
export class TaskEndings {
  readonly #options: TaskEndingsOptions;
  /** Outages in a row that brought no byte. */
  readonly #outages = new Map<string, number>();

  constructor(options: TaskEndingsOptions) {
    this.#options = options;
  }

  /** Bytes came, or all of them have. */
  succeeded(taskId: string): void {
    this.#outages.delete(taskId);
  }

  /** Throws what the queue has to know: that the service ends, or a fault that another run may not have. */
  async failed(task: TaskRow, error: unknown, { attempt, signal }: { attempt: number; signal: AbortSignal }): Promise<void> {
    const { repository, clock, logger, removePartsOf } = this.#options;
    const cause = stopCauseOf(signal.aborted ? signal.reason : error);
    if (cause !== undefined) {
      logger.debug({ taskId: task.id, cause }, 'a download was stopped');
      if (cause === 'cancelled') await removePartsOf(task);
      if (cause !== 'shutdown') return;
      await repository.move(task.id, 'queued', { from: activeStatuses, reason: 'the service ends' });
      throw new StopReason('shutdown');
    }
    if (isAppError(error, ...retryCodes)) { await this.#waitForBetter(task, error); return; }
    if (!isAppError(error)) {
      // Most likely the database, which the queue outwaits; the row says what is left to do.
      if (attempt < faultsMax) throw error;
      logger.error({ taskId: task.id, error }, 'a download failed by a fault of ours');
    }
    const stored = toStoredError(error, 'INTERNAL', 'The download failed by a fault of this service; its log says more.');
    await repository.move(task.id, 'failed', { patch: { error: stored, finishedAt: clock.now() }, reason: stored.code });
    logger.warn({ taskId: task.id, modelId: task.modelId, code: stored.code, internal: isAppError(error) ? error.internal : undefined }, 'a download failed');
  }

  async #waitForBetter(task: TaskRow, error: AppError): Promise<void> {
    const { repository, clock, logger } = this.#options;
    const outages = (this.#outages.get(task.id) ?? 0) + 1;
    this.#outages.set(task.id, outages);
    const waitMs = Math.max((error.retryAfterSeconds ?? 0) * 1000, isAppError(error, 'INSUFFICIENT_STORAGE') ? retryMaxMs : Math.min(retryMaxMs, retryMinMs * 2 ** Math.min(8, outages - 1)));
    const retryAt = new Date(clock.now().getTime() + waitMs);
    const stored = toStoredError(error, 'NETWORK_FAILED', error.message);
    const left = await repository.move(task.id, 'retrying', { patch: { error: stored, retryAt }, reason: stored.code });
    logger.info({ taskId: task.id, modelId: task.modelId, code: error.code, internal: error.internal, waitMs }, 'a download waits and goes on by itself');
    if (left !== null) this.#options.onRetryAt(task.id, retryAt);
  }
}

