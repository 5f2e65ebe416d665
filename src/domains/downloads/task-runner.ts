import { StopReason, stopCauseOf } from '../../shared/abort.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { parseModelRef } from '../catalog/model-ref.ts';
import type { ModelDetail } from '../catalog/types.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError, isAppError, toStoredError } from '../../shared/errors.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { JobHandler } from '../../shared/job-queue.ts';
import type { Logger } from '../../shared/logger.ts';
import { activeStatuses } from './download.machine.ts';
import type { DownloadRepository, FileRow, TaskRow } from './download.repository.ts';
import type { ScanReport } from './file-scanner.ts';
import type { FiguresBoard } from './figures-board.ts';
import type { InstalledModelRepository } from './installed-model.repository.ts';
import { LiveTask } from './live-task.ts';
import { lookUpModel, sourceOf, type Sources } from './model-lookup.ts';
import { PhaseTracker } from './phase-tracker.ts';
import { filesKeyOf, planDownload } from './planning/plan-download.ts';
import { runPool } from './pool.ts';
import type { DiskBudget } from './storage/disk-budget.ts';
import type { ModelLayout } from './storage/model-layout.ts';
import type { DigestedFile } from './storage/part-digests.ts';
import { blobKeyOf, type TaskContext, type TaskFiles } from './task-files.ts';
import { TokenBucket } from './transfer/token-bucket.ts';
import type { InstalledFile } from './types.ts';

export type TaskRunnerOptions = {
  repository: DownloadRepository;
  installed: InstalledModelRepository;
  catalog: Catalog;
  sources: Sources;
  files: TaskFiles;
  budget: DiskBudget;
  board: FiguresBoard;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  /** Over all tasks. */
  limit: TokenBucket;
  layoutOf: (task: { modelId: string; requestedRevision: string | null }, revision: string) => ModelLayout;
  removePartsOf: (task: TaskRow) => Promise<void>;
  /** The task goes on by itself at that time. */
  onRetryAt: (taskId: string, at: Date) => void;
  /** These files lie in their places now. */
  onInstalled: (files: readonly DigestedFile[]) => void;
};

type Run = {
  controller: AbortController;
  ended: Promise<void>;
  /** Of the task alone. */
  limit: TokenBucket;
  /** How often the limit was changed since the run began; a row that was read before the last change is old. */
  limitChanges: number;
};

/** Small files beside a large one: its connections fill the line, theirs wait for answers. */
const filesAtOnce = 3;
const planTimeoutMs = 60_000;
/** After an outage: soon at first, then as often as is polite. */
const retryMinMs = 5_000;
const retryMaxMs = 30_000;
/** Runs of one job that end in a fault of ours, before the task counts as failed. */
const faultsMax = 3;
const retryCodes = ['NETWORK_FAILED', 'SOURCE_UNAVAILABLE', 'RATE_LIMITED', 'TIMEOUT', 'OVERLOADED', 'INSUFFICIENT_STORAGE', 'RUNTIME_UNAVAILABLE'] as const;

/** Carries out one task from its row: whatever an earlier run, process or boot has left of it, it goes on from there. */
export class TaskRunner {
  readonly #options: TaskRunnerOptions;
  readonly #runs = new Map<string, Run>();
  /** Outages in a row that brought no byte. */
  readonly #outages = new Map<string, number>();
  #isStopping = false;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
  }

  /** Idempotent: runs only what its row says is to be run. */
  readonly handle: JobHandler = async ({ subjectId, attempt }, signal) => {
    if (this.#isStopping) throw new StopReason('shutdown');
    await this.#runs.get(subjectId)?.ended;
    const controller = new AbortController();
    const onAbort = (): void => controller.abort(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    const { promise: ended, resolve: end } = Promise.withResolvers<undefined>();
    const limit = new TokenBucket(this.#options.clock, null);
    this.#runs.set(subjectId, { controller, ended: ended.then(() => undefined), limit, limitChanges: 0 });
    try {
      await this.#run(subjectId, attempt, controller.signal);
    } finally {
      signal.removeEventListener('abort', onAbort);
      this.#runs.delete(subjectId);
      end(undefined);
    }
  };

  /** Ends the task's run in this process, if there is one, and waits for its end: its bytes are written then. */
  async halt(taskId: string, reason: StopReason): Promise<void> {
    const run = this.#runs.get(taskId);
    run?.controller.abort(reason);
    await run?.ended;
  }

  /** Felt at once by a task that runs here; others read it from their row. */
  setLimit(taskId: string, maxBytesPerSecond: number | null): void {
    const run = this.#runs.get(taskId);
    if (!run) return;
    run.limitChanges += 1;
    run.limit.setLimit(maxBytesPerSecond);
  }

  /** Changes may have been missed: what the rows say now is what holds. */
  async readLimits(): Promise<void> {
    for (const [taskId, run] of [...this.#runs]) {
      const before = run.limitChanges;
      const row = await this.#options.repository.find(taskId);
      if (row && run.limitChanges === before) run.limit.setLimit(row.maxBytesPerSecond ?? null);
    }
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all([...this.#runs.keys()].map((taskId) => this.halt(taskId, new StopReason('shutdown'))));
  }

  async #run(taskId: string, attempt: number, signal: AbortSignal): Promise<void> {
    const { repository, clock } = this.#options;
    const task = await repository.find(taskId);
    if (!task || !this.#isRunnable(task)) return;
    // Its worker is gone: this job is the proof.
    if (task.status !== 'queued') await repository.move(taskId, 'queued', { from: activeStatuses, reason: 'goes on after an interruption' });
    const patch = { startedAt: task.startedAt ?? clock.now(), attempt: task.attempt + 1, error: null, retryAt: null };
    if ((await repository.move(taskId, 'running', { from: ['queued'], patch })) === null) return;
    try {
      await this.#work(task, signal);
      this.#outages.delete(taskId);
    } catch (error) {
      await this.#end(task, error, { attempt, signal });
    }
  }

  #isRunnable({ status, retryAt }: TaskRow): boolean {
    if (status === 'retrying') return !retryAt || retryAt.getTime() <= this.#options.clock.now().getTime();
    return status === 'queued' || activeStatuses.includes(status);
  }

  async #work(given: TaskRow, signal: AbortSignal): Promise<void> {
    const { repository, files: steps, installed, clock } = this.#options;
    const { task, files } = await this.#planned(given, signal);
    const context = await this.#open(task, files, signal);
    const { live, layout, phases } = context;
    try {
      await runPool(files, filesAtOnce, (file, own) => steps.fetch(file, context, own), AbortSignal.any([signal, phases.lost]));
      await phases.settle('verifying');
      await step(repository.move(task.id, 'scanning', { from: ['verifying'] }));
      const reports = new Map<string, ScanReport>();
      await runPool(files, filesAtOnce, async (file, own) => void reports.set(file.path, await steps.scan(file, context, own)), signal);
      const installedFiles = await steps.publish(context, reports, signal);
      const { modelId } = task;
      const sizeBytes = files.reduce((sum, file) => sum + file.sizeBytes, 0);
      const variant = task.variant ?? null;
      const row = { modelId, revision: context.revision, variant, format: task.format ?? 'other', quantization: task.quantization ?? null, sizeBytes, folder: layout.folder };
      const installedModelId = await installed.enter({ ...row, variantKey: context.variantKey, files: installedFiles }, clock.now());
      // Before the last change of state: readers of it find the whole figures.
      await live.close();
      await step(repository.move(task.id, 'completed', { patch: { installedModelId, downloadedBytes: sizeBytes, finishedAt: clock.now(), error: null } }));
      this.#options.onInstalled(placesOf(files, installedFiles, layout));
    } finally {
      await live.close();
      this.#options.board.delete(task.id);
    }
  }

  /** The task with its files; which they are is found out now when the source could not tell before. */
  async #planned(task: TaskRow, signal: AbortSignal): Promise<{ task: TaskRow; files: readonly FileRow[] }> {
    const { repository, catalog } = this.#options;
    if (typeof task.revision !== 'string') {
      const model = { modelId: task.modelId, requestedRevision: task.requestedRevision ?? null };
      const detail = await lookUpInTime(catalog, model, signal);
      const plan = planDownload(detail, { variant: task.variant ?? null, include: task.include ?? null, exclude: task.exclude ?? null, override: task.override });
      await repository.savePlan(task.id, plan, filesKeyOf(task.modelId, plan, task.target));
    }
    const row = await repository.find(task.id);
    const [withFiles] = row ? await repository.withFiles([row]) : [];
    if (!withFiles) throw new StopReason('superseded');
    return withFiles;
  }

  async #open(task: TaskRow, files: readonly FileRow[], signal: AbortSignal): Promise<TaskContext & { phases: PhaseTracker; variantKey: string }> {
    const { repository, sources, board, events, clock, logger, limit, layoutOf, budget } = this.#options;
    const run = this.#runs.get(task.id);
    const own = run?.limit;
    // Changes are heard from before the row was read, and are never older than it.
    if (run?.limitChanges === 0) own?.setLimit(task.maxBytesPerSecond ?? null);
    const parsed = parseModelRef(task.modelId);
    const requested = task.requestedRevision ?? null;
    const revision = task.revision ?? '';
    const layout = layoutOf({ modelId: task.modelId, requestedRevision: requested }, revision);
    const source = sourceOf(sources, parsed);
    await budget.assertRoomToRun(task.id, layout.root, files.map((file) => ({ place: layout.place(blobKeyOf(file)), sizeBytes: file.sizeBytes })));
    signal.throwIfAborted();
    const live = new LiveTask({
      files,
      clock,
      publish: (progress) => {
        board.set(task.id, progress);
        events.publish('download.progress', task.id, { taskId: task.id, progress });
      },
      save: async (figures) => {
        try {
          await repository.saveFigures(task.id, figures);
        } catch (error) {
          logger.warn({ taskId: task.id, error }, 'the figures of a download could not be stored; it goes on');
        }
      },
    });
    const phases = new PhaseTracker((to) => repository.move(task.id, to, { from: ['running', 'verifying'] }));
    return {
      task,
      ref: { ...parsed, revision: parsed.revision ?? requested },
      revision,
      files,
      layout,
      source,
      live,
      limits: own ? [limit, own] : [limit],
      onPhase: (phase) => {
        if (phase === 'running') this.#outages.delete(task.id);
        phases.enter(phase);
      },
      onScanned: (path, report) => repository.saveScan(task.id, path, report),
      phases,
      variantKey: task.variantKey ?? '',
    };
  }

  async #end(task: TaskRow, error: unknown, { attempt, signal }: { attempt: number; signal: AbortSignal }): Promise<void> {
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

async function lookUpInTime(catalog: Catalog, model: { modelId: string; requestedRevision: string | null }, signal: AbortSignal): Promise<ModelDetail> {
  const limit = AbortSignal.timeout(planTimeoutMs);
  try {
    return await lookUpModel(catalog, model, AbortSignal.any([signal, limit]));
  } catch (error) {
    if (signal.aborted || !limit.aborted) throw error;
    throw new AppError('TIMEOUT', 'The source did not answer in time.', { cause: error });
  }
}

/** A change of state that is refused means that somebody paused or cancelled the task: this run is over. */
async function step(move: Promise<unknown>): Promise<void> {
  if ((await move) === null) throw new StopReason('superseded');
}

function placesOf(files: readonly FileRow[], installed: readonly InstalledFile[], layout: ModelLayout): DigestedFile[] {
  const sha256s = new Map(installed.map(({ path, sha256 }) => [path, sha256]));
  return files.flatMap((file) => {
    const sha256 = sha256s.get(file.path) ?? null;
    return sha256 === null ? [] : [{ path: layout.place(blobKeyOf(file)).blobPath, sha256, sizeBytes: file.sizeBytes }];
  });
}
