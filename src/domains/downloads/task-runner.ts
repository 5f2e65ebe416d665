import { StopReason } from '../../shared/abort.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { parseModelRef } from '../catalog/model-ref.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { JobHandler } from '../../shared/job-queue.ts';
import type { Logger } from '../../shared/logger.ts';
import { activeStatuses } from './download.machine.ts';
import type { DownloadRepository, FileRow, TaskRow } from './download.repository.ts';
import type { ScanReport } from './file-scanner.ts';
import type { FiguresBoard } from './figures-board.ts';
import type { InstalledModelRepository } from './installed-model.repository.ts';
import { lookUpInTime, sourceOf, type Sources } from './model-lookup.ts';
import type { OllamaStore } from './ollama-store.ts';
import { openLiveTask } from './open-live-task.ts';
import { type Phase, PhaseTracker } from './phase-tracker.ts';
import { filesKeyOf } from './planning/plan-download.ts';
import { planForTarget } from './planning/plan-for-target.ts';
import { runPool } from './pool.ts';
import { runOllamaPull } from './run-ollama-pull.ts';
import type { DiskBudget } from './storage/disk-budget.ts';
import type { ModelLayout } from './storage/model-layout.ts';
import type { DigestedFile } from './storage/part-digests.ts';
import { TaskEndings } from './task-endings.ts';
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
  ollama: OllamaStore;
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
/** Carries out one task from its row: whatever an earlier run, process or boot has left of it, it goes on from there. */
export class TaskRunner {
  readonly #options: TaskRunnerOptions;
  readonly #runs = new Map<string, Run>();
  readonly #endings: TaskEndings;
  #isStopping = false;

  constructor(options: TaskRunnerOptions) {
    this.#options = options;
    this.#endings = new TaskEndings(options);
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
      this.#endings.succeeded(taskId);
    } catch (error) {
      await this.#endings.failed(task, error, { attempt, signal });
    }
  }

  #isRunnable({ status, retryAt }: TaskRow): boolean {
    if (status === 'retrying') return !retryAt || retryAt.getTime() <= this.#options.clock.now().getTime();
    return status === 'queued' || activeStatuses.includes(status);
  }

  async #work(given: TaskRow, signal: AbortSignal): Promise<void> {
    const { task, files } = await this.#planned(given, signal);
    if (task.target === 'ollama') await this.#pull(task, files, signal);
    else await this.#fetch(task, files, signal);
  }

  /** By the Ollama server itself, whose store nobody else looks into. */
  async #pull(task: TaskRow, files: readonly FileRow[], signal: AbortSignal): Promise<void> {
    const { repository, clock, ollama, board } = this.#options;
    const live = openLiveTask(this.#options, task.id, files);
    const phases = this.#phasesOf(task);
    try {
      await runOllamaPull({ task, files, live, onPhase: (phase) => this.#enter(phase, task, phases) }, ollama, AbortSignal.any([signal, phases.lost]));
      await phases.settle('verifying');
      await live.close();
      await step(repository.move(task.id, 'completed', { patch: { downloadedBytes: task.totalBytes ?? 0, finishedAt: clock.now(), error: null } }));
    } finally {
      await live.close();
      board.delete(task.id);
    }
  }

  #phasesOf({ id }: TaskRow): PhaseTracker {
    return new PhaseTracker((to) => this.#options.repository.move(id, to, { from: ['running', 'verifying'] }));
  }

  #enter(phase: Phase, { id }: TaskRow, phases: PhaseTracker): void {
    if (phase === 'running') this.#endings.succeeded(id);
    phases.enter(phase);
  }

  async #fetch(task: TaskRow, files: readonly FileRow[], signal: AbortSignal): Promise<void> {
    const { repository, files: steps, installed, clock } = this.#options;
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
      const selection = { variant: task.variant ?? null, include: task.include ?? null, exclude: task.exclude ?? null, override: task.override };
      const plan = planForTarget(detail, selection, { target: task.target, ref: parseModelRef(task.modelId) });
      await repository.savePlan(task.id, plan, filesKeyOf(task.modelId, plan, task.target));
    }
    const row = await repository.find(task.id);
    const [withFiles] = row ? await repository.withFiles([row]) : [];
    if (!withFiles) throw new StopReason('superseded');
    return withFiles;
  }

  async #open(task: TaskRow, files: readonly FileRow[], signal: AbortSignal): Promise<TaskContext & { phases: PhaseTracker; variantKey: string }> {
    const { repository, sources, limit, layoutOf, budget } = this.#options;
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
    const live = openLiveTask(this.#options, task.id, files);
    const phases = this.#phasesOf(task);
    return {
      task,
      ref: { ...parsed, revision: parsed.revision ?? requested },
      revision,
      files,
      layout,
      source,
      live,
      limits: own ? [limit, own] : [limit],
      onPhase: (phase) => this.#enter(phase, task, phases),
      onScanned: (path, report) => repository.saveScan(task.id, path, report),
      phases,
      variantKey: task.variantKey ?? '',
    };
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
