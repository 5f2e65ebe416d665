import { StopReason } from '../../shared/abort.ts';
import { AppError, validationFailed } from '../../shared/errors.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { JobQueue } from '../../shared/job-queue.ts';
import { assertPageLimit, type Page, type PageRequest } from '../../shared/paging.ts';
import type { Principal } from '../../shared/principal.ts';
import { downloadMachine, type DownloadStatus, isUnfinished } from './download.machine.ts';
import type { DownloadRepository, TaskRow, TaskWithFiles } from './download.repository.ts';
import type { FiguresBoard } from './figures-board.ts';
import { ollamaNameOf } from './run-ollama-pull.ts';
import type { RetrySchedule } from './retry-schedule.ts';
import { startDownload, type StartOptions } from './start-download.ts';
import { downloadQueue, enqueueTask } from './queue.ts';
import type { SpeedLimitRepository } from './speed-limit.repository.ts';
import type { TaskRunner } from './task-runner.ts';
import type { TokenBucket } from './transfer/token-bucket.ts';
import { toTaskView } from './task-view.ts';
import type { DownloadChange, DownloadEvent, DownloadFilter, DownloadLimits, Downloads, DownloadTaskView, InstalledModels, StartDownload } from './types.ts';
import { watchDownloads } from './watch-downloads.ts';

export type DownloadsServiceOptions = StartOptions & {
  repository: DownloadRepository;
  runner: TaskRunner;
  retries: RetrySchedule;
  board: FiguresBoard;
  jobs: JobQueue;
  events: EventBus;
  models: InstalledModels;
  removePartsOf: (task: TaskRow) => Promise<void>;
  /** Over all tasks. */
  limit: TokenBucket;
  storedLimit: SpeedLimitRepository;
  limits: () => DownloadLimits;
};

/** Use cases of the download queue. */
export class DownloadsService implements Downloads {
  readonly #options: DownloadsServiceOptions;

  constructor(options: DownloadsServiceOptions) {
    this.#options = options;
  }

  async start(input: StartDownload, principal: Principal, signal: AbortSignal): Promise<{ task: DownloadTaskView; created: boolean }> {
    const { repository, retries } = this.#options;
    const { id, created } = await startDownload(input, principal, this.#options, signal);
    const row = created ? await repository.find(id) : null;
    if (row?.status === 'queued') await this.#enqueue(row);
    if (row?.status === 'retrying' && row.retryAt) retries.at(id, row.retryAt);
    return { task: await this.get(id), created };
  }

  async pause(id: string, signal: AbortSignal): Promise<DownloadTaskView> {
    await this.#change(id, 'paused', signal);
    await this.#halt(id, new StopReason('paused'));
    return await this.get(id);
  }

  async resume(id: string, signal: AbortSignal): Promise<DownloadTaskView> {
    const { status } = await this.#row(id);
    // One that waits for better times is tried at once; one that runs already is as wanted.
    if (status === 'paused' || status === 'retrying') await this.#toQueue(id, [status], signal);
    else if (!isUnfinished(status)) throw invalidState(status, ['paused', 'retrying']);
    return await this.get(id);
  }

  async cancel(id: string, signal: AbortSignal): Promise<DownloadTaskView> {
    const { clock, removePartsOf } = this.#options;
    const isNew = await this.#change(id, 'cancelled', signal, { finishedAt: clock.now(), retryAt: null });
    if (isNew) {
      await this.#halt(id, new StopReason('cancelled'));
      await removePartsOf(await this.#row(id));
    }
    return await this.get(id);
  }

  async retry(id: string, signal: AbortSignal): Promise<DownloadTaskView> {
    const { status } = await this.#row(id);
    if (status !== 'failed' && status !== 'cancelled') throw invalidState(status, ['failed', 'cancelled']);
    await this.#toQueue(id, ['failed', 'cancelled'], signal);
    return await this.get(id);
  }

  async prioritize(id: string, change: DownloadChange, signal: AbortSignal): Promise<DownloadTaskView> {
    assertChange(change);
    const { repository, jobs, events } = this.#options;
    const { status, priority, target } = await this.#row(id);
    if (!isUnfinished(status)) throw invalidState(status, downloadMachine.states.filter(isUnfinished));
    if (target === 'ollama' && typeof change.maxBytesPerSecond === 'number') throw validationFailed([{ field: 'max_bytes_per_second', message: 'Ollama pulls as fast as it can' }]);
    signal.throwIfAborted();
    await repository.change(id, change);
    const row = await this.#row(id);
    if (change.maxBytesPerSecond !== undefined) events.publish('download.limited', id, { taskId: id, maxBytesPerSecond: change.maxBytesPerSecond });
    if (row.status === 'queued' && row.priority !== priority) {
      // A waiting job keeps the priority it was made with.
      await jobs.cancel(downloadQueue, id, new StopReason('superseded'));
      await this.#enqueue(row);
    }
    return await this.get(id);
  }

  limits(): DownloadLimits {
    return this.#options.limits();
  }

  async limit(maxBytesPerSecond: number | null, signal: AbortSignal): Promise<DownloadLimits> {
    assertChange({ maxBytesPerSecond });
    signal.throwIfAborted();
    await this.#options.storedLimit.save(maxBytesPerSecond);
    this.#options.limit.setLimit(maxBytesPerSecond);
    // For other processes of this service.
    this.#options.events.publish('download.limited', 'all', { taskId: null, maxBytesPerSecond });
    return this.limits();
  }

  async remove(id: string, { deleteFiles }: { deleteFiles: boolean }, signal: AbortSignal): Promise<DownloadTaskView> {
    const { repository, models, ollama, removePartsOf } = this.#options;
    const row = await this.#row(id);
    if (isUnfinished(row.status)) throw invalidState(row.status, ['completed', 'failed', 'cancelled']);
    const view = await this.get(id);
    if (deleteFiles && row.installedModelId) {
      const installed = await models.find(row.installedModelId);
      if (installed) await models.delete(installed.id, signal);
    }
    if (deleteFiles && row.target === 'ollama' && row.status === 'completed') await ollama.remove(ollamaNameOf(ollama, row), signal);
    await removePartsOf(row);
    await repository.remove(row);
    return view;
  }

  async find(id: string): Promise<DownloadTaskView | null> {
    const row = await this.#options.repository.find(id);
    const [view] = row ? await this.#views(await this.#options.repository.withFiles([row])) : [];
    return view ?? null;
  }

  async get(id: string): Promise<DownloadTaskView> {
    const view = await this.find(id);
    if (!view) throw notFound();
    return view;
  }

  async list(filter: DownloadFilter, page: PageRequest): Promise<Page<DownloadTaskView>> {
    assertPageLimit(page.limit);
    const rows = await this.#options.repository.list(filter, page);
    return { ...rows, items: await this.#views(rows.items) };
  }

  async listByModels(modelIds: readonly string[], limitEach: number): Promise<readonly DownloadTaskView[]> {
    return await this.#views(await this.#options.repository.listByModels(modelIds, limitEach));
  }

  watch(taskId: string | null, signal: AbortSignal): AsyncIterable<DownloadEvent> {
    const { events, repository } = this.#options;
    const unfinished = async (): Promise<DownloadTaskView[]> => {
      const rows = await repository.listByStatus(downloadMachine.states.filter(isUnfinished));
      return await this.#views(await repository.withFiles(rows));
    };
    return watchDownloads({ events, find: (id) => this.find(id), unfinished }, taskId, signal);
  }

  async #views(rows: readonly TaskWithFiles[]): Promise<DownloadTaskView[]> {
    const { repository, board } = this.#options;
    const queue = rows.some(({ task }) => task.status === 'queued') ? await repository.queue() : [];
    const positions = new Map(queue.map((id, index) => [id, index + 1]));
    return rows.map((row) => toTaskView(row, { figures: board.get(row.task.id), queuePosition: positions.get(row.task.id) ?? null }));
  }

  async #row(id: string): Promise<TaskRow> {
    const row = await this.#options.repository.find(id);
    if (!row) throw notFound();
    return row;
  }

  /** False when the task is in that state already. */
  async #change(id: string, to: DownloadStatus, signal: AbortSignal, patch: { finishedAt?: Date; retryAt?: null } = {}): Promise<boolean> {
    const { status } = await this.#row(id);
    if (status === to) return false;
    signal.throwIfAborted();
    if ((await this.#options.repository.move(id, to, { patch })) !== null) return true;
    const now = await this.#row(id);
    if (now.status === to) return false;
    throw invalidState(now.status, downloadMachine.sourcesOf(to));
  }

  async #toQueue(id: string, from: readonly DownloadStatus[], signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    const { repository, retries } = this.#options;
    const left = await repository.move(id, 'queued', { from, patch: { error: null, retryAt: null, finishedAt: null } });
    // Somebody else did the same a moment ago.
    if (left === null) return;
    retries.forget(id);
    await this.#enqueue(await this.#row(id));
  }

  async #enqueue(row: TaskRow): Promise<void> {
    await enqueueTask(this.#options.jobs, row);
  }

  /** In this process at once; in another one, as soon as the queue tells it. */
  async #halt(id: string, reason: StopReason): Promise<void> {
    const { runner, jobs, retries } = this.#options;
    retries.forget(id);
    await Promise.all([runner.halt(id, reason), jobs.cancel(downloadQueue, id, reason)]);
  }
}

function assertChange({ priority, maxBytesPerSecond = null }: DownloadChange): void {
  if (priority !== undefined && (!Number.isInteger(priority) || Math.abs(priority) > 100)) throw validationFailed([{ field: 'priority', message: 'must be a whole number from -100 to 100' }]);
  if (maxBytesPerSecond !== null && !(Number.isSafeInteger(maxBytesPerSecond) && maxBytesPerSecond > 0)) throw validationFailed([{ field: 'max_bytes_per_second', message: 'must be a whole number above 0' }]);
}

function notFound(): AppError {
  return new AppError('DOWNLOAD_NOT_FOUND', 'There is no such download.');
}

function invalidState(status: DownloadStatus, allowed: readonly DownloadStatus[]): AppError {
  return new AppError('INVALID_STATE', `This is not possible while the download is ${status}.`, { details: { status, allowed } });
}
