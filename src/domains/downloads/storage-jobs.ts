import { StopReason, stopCauseOf } from '../../shared/abort.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError, isAppError, toStoredError, type StoredError } from '../../shared/errors.ts';
import type { Instances } from '../../shared/instances.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Principal } from '../../shared/principal.ts';
import { ReadCount } from './read-count.ts';
import type { StorageJobRepository, StorageJobRow } from './storage-job.repository.ts';
import type { DownloadTaskView, ImportModel, InstalledModelView, RepairOutcome, StorageJobKind, StorageJobs, StorageJobView } from './types.ts';

/** The work itself; each method resolves when it is done. */
export type StorageWork = {
  verify(id: string, count: ReadCount, signal: AbortSignal): Promise<InstalledModelView>;
  repair(id: string, principal: Principal, count: ReadCount, signal: AbortSignal): Promise<RepairOutcome>;
  import(input: ImportModel, principal: Principal, count: ReadCount, signal: AbortSignal): Promise<readonly InstalledModelView[]>;
  adopt(modelId: string | null, count: ReadCount, signal: AbortSignal): Promise<readonly InstalledModelView[]>;
};

export type StorageJobsOptions = {
  repository: StorageJobRepository;
  work: StorageWork;
  getModel: (id: string) => Promise<InstalledModelView>;
  instances: Pick<Instances, 'self' | 'isAlive' | 'onDeath'>;
  clock: Clock;
  logger: Logger;
  /** What is done by then is answered as done. */
  answerWithinMs: number;
};

/** Reading more at once only makes each of them slower. */
const runningMax = 16;
const saveEveryMs = 1_000;
const endAgainMs = 5_000;
/** How long its end can be asked for. */
const keptMs = 7 * 86_400_000;
const interrupted: StoredError = { code: 'INTERRUPTED', message: 'The service ended before it was done; ask for it again.' };

type Running = { kind: StorageJobKind; count: ReadCount; ended: AbortController; startedAt: Date };
/** Answered as a job. */
type Entered = Running & { following: Promise<void> };
type Found = { models: readonly InstalledModelView[]; task: DownloadTaskView | null };

/**
 * Work on stored models that may take minutes, answered within seconds: as done when it is, else as a job that goes on
 * and whose end is asked for. Who leaves before the answer takes the work along, as nobody could learn of its end.
 */
export class ModelJobs implements StorageJobs {
  readonly #options: StorageJobsOptions;
  readonly #running = new Set<Running>();
  /** Of the jobs of this process, by their ids. */
  readonly #entered = new Map<string, Entered>();
  readonly #stopping = new AbortController();
  #stopWatching: () => void = () => undefined;

  constructor(options: StorageJobsOptions) {
    this.#options = options;
  }

  /** Ends what dead processes have left; they may have been killed at any moment. */
  async start(): Promise<void> {
    const { repository, instances, clock } = this.#options;
    this.#stopWatching = instances.onDeath(() => this.#interruptOrphans());
    await this.#interruptOrphans();
    await repository.purge(new Date(clock.now().getTime() - keptMs));
  }

  /** Breaks off what runs and enters it as interrupted. */
  async stop(): Promise<void> {
    this.#stopWatching();
    const reason = new StopReason('shutdown');
    this.#stopping.abort(reason);
    for (const { ended } of this.#running) ended.abort(reason);
    await Promise.all([...this.#entered.values()].map(({ following }) => following));
  }

  async verify(id: string, signal: AbortSignal): Promise<{ installedModel: InstalledModelView; job: StorageJobView | null }> {
    const before = await this.#options.getModel(id);
    const { result, job } = await this.#run({ kind: 'verify', about: [id] }, (count, own) => this.#options.work.verify(id, count, own), (model) => ({ models: [model], task: null }), signal);
    return { installedModel: result ?? before, job };
  }

  async repair(id: string, principal: Principal, signal: AbortSignal): Promise<RepairOutcome & { job: StorageJobView | null }> {
    const before = await this.#options.getModel(id);
    const { result, job } = await this.#run({ kind: 'repair', about: [id] }, (count, own) => this.#options.work.repair(id, principal, count, own), ({ installedModel, task }) => ({ models: [installedModel], task }), signal);
    return { ...(result ?? { installedModel: before, task: null }), job };
  }

  async import(input: ImportModel, principal: Principal, signal: AbortSignal): Promise<{ installedModels: readonly InstalledModelView[]; job: StorageJobView | null }> {
    const { result, job } = await this.#run({ kind: 'import', about: [] }, (count, own) => this.#options.work.import(input, principal, count, own), (models) => ({ models, task: null }), signal);
    return { installedModels: result ?? [], job };
  }

  async adopt(modelId: string | null, signal: AbortSignal): Promise<{ installedModels: readonly InstalledModelView[]; job: StorageJobView | null }> {
    const { result, job } = await this.#run({ kind: 'adopt', about: [] }, (count, own) => this.#options.work.adopt(modelId, count, own), (models) => ({ models, task: null }), signal);
    return { installedModels: result ?? [], job };
  }

  async find(id: string): Promise<StorageJobView | null> {
    const row = await this.#options.repository.find(id);
    return row && this.#toView(row);
  }

  async cancel(id: string): Promise<StorageJobView> {
    const { repository, clock } = this.#options;
    const own = this.#entered.get(id);
    if (own) {
      own.ended.abort(new StopReason('cancelled'));
      await own.following;
    } else if (await repository.find(id)) await repository.end(id, 'cancelled', { at: clock.now() });
    const job = await this.find(id);
    if (!job) throw new AppError('NOT_FOUND', 'There is no such storage job.');
    if (job.status !== 'cancelled') throw new AppError('INVALID_STATE', `It is ${job.status} already.`, { details: { status: job.status, allowed: ['running'] } });
    return job;
  }

  async #run<Result>({ kind, about }: { kind: StorageJobKind; about: readonly string[] }, work: (count: ReadCount, signal: AbortSignal) => Promise<Result>, found: (result: Result) => Found, signal: AbortSignal): Promise<{ result: Result | null; job: StorageJobView | null }> {
    signal.throwIfAborted();
    if (this.#stopping.signal.aborted) throw new AppError('SHUTTING_DOWN', 'The service is ending.', { retryAfterSeconds: 5 });
    if (this.#running.size >= runningMax) throw new AppError('OVERLOADED', 'So many models are being read already; try again later.', { retryAfterSeconds: 30 });
    const running: Running = { kind, count: new ReadCount(), ended: new AbortController(), startedAt: this.#options.clock.now() };
    this.#running.add(running);
    const leave = (): void => running.ended.abort(signal.reason);
    signal.addEventListener('abort', leave, { once: true });
    const working = work(running.count, running.ended.signal).finally(() => this.#running.delete(running));
    try {
      const done = await this.#inTime(working);
      if (done) return { result: done.result, job: null };
      return { result: null, job: await this.#enter(running, about, working.then(found)) };
    } catch (error) {
      // Of the work, which has ended then; of entering it, which leaves it without anybody who asks.
      running.ended.abort(error);
      throw error;
    } finally {
      signal.removeEventListener('abort', leave);
    }
  }

  /** Null when it takes longer. */
  async #inTime<Result>(working: Promise<Result>): Promise<{ result: Result } | null> {
    const answered = new AbortController();
    const late = this.#options.clock.sleep(this.#options.answerWithinMs, answered.signal).then(() => null, () => null);
    try {
      return await Promise.race([working.then((result) => ({ result })), late]);
    } finally {
      answered.abort();
    }
  }

  async #enter(running: Running, about: readonly string[], working: Promise<Found>): Promise<StorageJobView> {
    const { kind, count, startedAt } = running;
    const { repository, instances } = this.#options;
    // Told in `#follow`; before that it must not count as unhandled.
    working.catch(() => undefined);
    const { readBytes, totalBytes } = count;
    const job = { kind, readBytes, totalBytes, installedModelIds: about, instanceId: instances.self.id, startedAt };
    const id = await repository.create(job);
    const following = this.#follow(id, running, working).finally(() => this.#entered.delete(id));
    this.#entered.set(id, { ...running, following });
    return { ...job, id, status: 'running', taskId: null, error: null, finishedAt: null };
  }

  async #follow(id: string, running: Running, working: Promise<Found>): Promise<void> {
    const { repository, clock, logger } = this.#options;
    const { count } = running;
    const ended = new AbortController();
    const saving = this.#saveProgress(id, running, ended.signal);
    const end = await working.then(
      ({ models, task }) => ({ to: 'completed' as const, installedModelIds: models.map((model) => model.id), taskId: task?.id ?? null }),
      (error: unknown) => (stopCauseOf(running.ended.signal.reason) === 'cancelled' ? { to: 'cancelled' as const } : { to: 'failed' as const, error: this.#storedError(id, error) }),
    );
    ended.abort();
    await saving;
    const { to, ...patch } = end;
    // Until it is stored somebody waits for it; a database that is away comes back.
    for (;;) {
      try {
        await repository.end(id, to, { ...patch, readBytes: count.readBytes, totalBytes: count.totalBytes, at: clock.now() });
        return;
      } catch (error) {
        logger.warn({ jobId: id, err: error }, 'the end of a storage job could not be stored');
        // The next process finds it without an owner.
        if (this.#stopping.signal.aborted) return;
        await clock.sleep(endAgainMs, this.#stopping.signal).catch(() => undefined);
      }
    }
  }

  #storedError(id: string, error: unknown): StoredError {
    if (this.#stopping.signal.aborted && !isAppError(error)) return interrupted;
    if (!isAppError(error)) this.#options.logger.error({ jobId: id, err: error }, 'a storage job failed unexpectedly');
    return toStoredError(error, 'INTERNAL', 'Something went wrong in the service; its log says what.');
  }

  async #saveProgress(id: string, running: Running, ended: AbortSignal): Promise<void> {
    const { repository, clock, logger } = this.#options;
    const { count } = running;
    let saved = count.readBytes;
    const isEnded = (): boolean => ended.aborted;
    while (!isEnded()) {
      await clock.sleep(saveEveryMs, ended).catch(() => undefined);
      const { readBytes, totalBytes } = count;
      if (isEnded() || readBytes === saved) continue;
      saved = readBytes;
      try {
        // Another process was asked to cancel it.
        if (!(await repository.saveProgress(id, { readBytes, totalBytes }))) running.ended.abort(new StopReason('cancelled'));
      } catch (error) {
        logger.debug({ jobId: id, err: error }, 'progress of a storage job could not be stored');
      }
    }
  }

  async #interruptOrphans(): Promise<void> {
    const { repository, instances, clock } = this.#options;
    for (const { id, instanceId } of await repository.running()) {
      if (this.#entered.has(id) || (await instances.isAlive(instanceId))) continue;
      await repository.end(id, 'failed', { error: interrupted, at: clock.now() });
    }
  }

  #toView(row: StorageJobRow): StorageJobView {
    const { id, kind, status, installedModelIds, startedAt } = row;
    const count = this.#entered.get(id)?.count;
    return {
      id,
      kind,
      status,
      installedModelIds,
      startedAt,
      readBytes: count?.readBytes ?? row.readBytes,
      totalBytes: count ? count.totalBytes : (row.totalBytes ?? null),
      taskId: row.taskId ?? null,
      error: row.error ?? null,
      finishedAt: row.finishedAt ?? null,
    };
  }
}
