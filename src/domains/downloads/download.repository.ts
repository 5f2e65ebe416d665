import { UniqueConstraintViolationException } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Clock } from '../../shared/clock.ts';
import { AppError, type StoredError } from '../../shared/errors.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import { isId, newId } from '../../shared/ids.ts';
import type { Page, PageRequest } from '../../shared/paging.ts';
import { claimIdempotencyKey, findIdempotentResult, type IdempotencyClaim } from '../../shared/persistence/idempotency.repository.ts';
import { marksOf, readRow, readRowPage, readRows } from '../../shared/persistence/read-rows.repository.ts';
import { StateEvent } from '../../shared/persistence/state-event.entity.ts';
import { transition } from '../../shared/persistence/transition.repository.ts';
import { DownloadFile, DownloadTask } from './download-task.entity.ts';
import { downloadMachine, type DownloadStatus, unfinishedStatuses } from './download.machine.ts';
import type { ScanReport } from './file-scanner.ts';
import type { DownloadPlan } from './planning/plan-download.ts';
import type { DownloadFileStatus, DownloadFilter } from './types.ts';

const listName = 'downloads';

export type TaskRow = Readonly<DownloadTask>;
export type FileRow = Readonly<DownloadFile>;
export type TaskWithFiles = { task: TaskRow; files: readonly FileRow[] };

type Asked = 'modelId' | 'requestedRevision' | 'variant' | 'include' | 'exclude' | 'target' | 'priority' | 'maxBytesPerSecond' | 'override' | 'requestKey' | 'createdBy';

export type NewTask = Pick<DownloadTask, Asked> & {
  status: 'queued' | 'retrying' | 'completed';
  error: StoredError | null;
  retryAt: Date | null;
  plan: DownloadPlan | null;
  filesKey: string | null;
  installedModelId: string | null;
};

export type StateChange = {
  from?: readonly DownloadStatus[];
  patch?: Partial<Pick<DownloadTask, 'attempt' | 'error' | 'retryAt' | 'startedAt' | 'finishedAt' | 'installedModelId' | 'downloadedBytes'>>;
  reason?: string;
};

export type Figures = { downloadedBytes: number; files: readonly { path: string; downloadedBytes: number; status: DownloadFileStatus; sha256?: string }[] };

/** Far more than anyone queues; what is to be read at once, and told to whoever follows all, stays a matter of moments. */
const unfinishedMax = 1_000;
/** A bound for queries that have no page. */
const manyMax = 10_000;

/** The only place that reads and writes tasks' rows; a state changes through `move` alone, which also tells it. */
export class DownloadRepository {
  readonly #em: () => SqlEntityManager;
  readonly #events: EventBus;
  readonly #clock: Clock;

  constructor(options: { em: SqlEntityManager; events: EventBus; clock: Clock }) {
    const { em } = options;
    this.#em = () => em.fork();
    this.#events = options.events;
    this.#clock = options.clock;
  }

  /**
   * The new task's id, or that of the unfinished task that fetches the same, or of the call that used the idempotency
   * key before. The unique indexes decide, so two callers at once get one task. Throws OVERLOADED.
   */
  async create(input: NewTask, claim: IdempotencyClaim | null): Promise<{ id: string; created: boolean }> {
    const id = newId();
    const now = this.#clock.now();
    try {
      const earlier = await this.#em().transactional(async (tx) => {
        const claimed = claim ? await claimIdempotencyKey(tx, claim, id, now) : null;
        if (claimed !== null) return claimed;
        if (input.status !== 'completed') await assertRoomInQueue(tx);
        insertTask(tx, { id, now, input });
        return null;
      });
      if (earlier !== null) return { id: earlier, created: false };
    } catch (error) {
      if (!(error instanceof UniqueConstraintViolationException)) throw error;
      const same = await this.findUnfinished(input.requestKey, input.filesKey);
      // It ended in this very moment: the caller may ask again.
      if (!same) throw new AppError('OVERLOADED', 'The same download has just ended; try again.', { retryAfterSeconds: 1, cause: error });
      return { id: same.id, created: false };
    }
    this.#tell(id, input.status);
    return { id, created: true };
  }

  async findByClaim(claim: IdempotencyClaim): Promise<string | null> {
    return await findIdempotentResult(this.#em(), claim);
  }

  async findUnfinished(requestKey: string, filesKey: string | null): Promise<TaskRow | null> {
    const keys = filesKey === null ? [{ requestKey }] : [{ requestKey }, { filesKey }];
    return await this.#em().findOne(DownloadTask, { status: { $in: [...unfinishedStatuses] }, $or: keys }, { orderBy: { id: 'asc' } });
  }

  async find(id: string): Promise<TaskRow | null> {
    return isId(id) ? await readRow(this.#em(), DownloadTask, [['id = ?', id]]) : null;
  }

  async withFiles(tasks: readonly TaskRow[]): Promise<TaskWithFiles[]> {
    if (tasks.length === 0) return [];
    const ids = tasks.map(({ id }) => id);
    const files = await readRows(this.#em(), DownloadFile, `where task_id in (${marksOf(ids)}) order by position`, ids);
    const byTask = Map.groupBy(files, ({ taskId }) => taskId);
    return tasks.map((task) => ({ task, files: byTask.get(task.id) ?? [] }));
  }

  async list(filter: DownloadFilter, page: PageRequest): Promise<Page<TaskWithFiles>> {
    const { status, modelId } = filter;
    const matching = [['status = ?', status], ['model_id = ?', modelId]] as const;
    const { items, ...rest } = await readRowPage(this.#em(), DownloadTask, { list: listName, page, matching });
    return { ...rest, items: await this.withFiles(items) };
  }

  async listByModels(modelIds: readonly string[], limitEach: number): Promise<TaskWithFiles[]> {
    if (modelIds.length === 0) return [];
    const rows = await this.#em().find(DownloadTask, { modelId: { $in: [...modelIds] } }, { orderBy: { id: 'desc' }, limit: manyMax });
    const newest = [...Map.groupBy(rows, ({ modelId }) => modelId).values()].flatMap((ofModel) => ofModel.slice(0, limitEach));
    return await this.withFiles(newest);
  }

  /** Oldest first. */
  async listByStatus(statuses: readonly DownloadStatus[]): Promise<TaskRow[]> {
    return await this.#em().find(DownloadTask, { status: { $in: [...statuses] } }, { orderBy: { id: 'asc' }, limit: manyMax });
  }

  /** Tasks that have ended, beyond the newest `keptMax` of them: `limit` at most. */
  async endedBeyond(keptMax: number, limit: number): Promise<TaskRow[]> {
    const ended = downloadMachine.states.filter((status) => !unfinishedStatuses.includes(status));
    return await readRows(this.#em(), DownloadTask, `where status in (${marksOf(ended)}) order by id desc limit ? offset ?`, [...ended, limit, keptMax]);
  }

  /** The ids that wait, the next one first. */
  async queue(): Promise<string[]> {
    const rows = await this.#em().find(DownloadTask, { status: 'queued' }, { fields: ['id'], orderBy: { priority: 'desc', id: 'asc' }, limit: manyMax });
    return rows.map(({ id }) => id);
  }

  /** The state that it left, or null when the row is gone or the change is not allowed from its state. */
  async move(id: string, to: DownloadStatus, change: StateChange = {}): Promise<DownloadStatus | null> {
    try {
      const left = await transition<DownloadStatus, DownloadTask>(this.#em(), DownloadTask, { machine: downloadMachine, id, to, at: this.#clock.now(), ...change });
      if (left !== null) this.#tell(id, to);
      return left;
    } catch (error) {
      // A finished task becomes unfinished again, and another one has taken its place meanwhile.
      if (error instanceof UniqueConstraintViolationException) {
        const allowed = { status: to, allowed: [] };
        throw new AppError('INVALID_STATE', 'Another unfinished task fetches the same files.', { details: allowed, cause: error });
      }
      throw error;
    }
  }

  /** What the request came to, found out after the task was made. */
  async savePlan(id: string, plan: DownloadPlan, filesKey: string): Promise<void> {
    const columns = planColumns(plan);
    const write = async (key: string | null): Promise<void> => {
      await this.#em().transactional(async (tx) => {
        await tx.nativeUpdate(DownloadTask, { id }, { ...columns, filesKey: key });
        await tx.nativeDelete(DownloadFile, { taskId: id });
        for (const row of fileRows(id, plan, 'pending')) tx.create(DownloadFile, row);
      });
    };
    try {
      await write(filesKey);
    } catch (error) {
      if (!(error instanceof UniqueConstraintViolationException)) throw error;
      // Another request turned out to mean the same files. Both go on: what the one has fetched the other finds.
      await write(null);
    }
    await this.touch(id);
  }

  /** Tells readers that columns changed without a change of state. */
  async touch(id: string): Promise<void> {
    const row = await this.find(id);
    if (row) this.#tell(id, row.status);
  }

  async saveFigures(id: string, figures: Figures): Promise<void> {
    await this.#em().transactional(async (tx) => {
      await tx.nativeUpdate(DownloadTask, { id }, { downloadedBytes: figures.downloadedBytes });
      for (const { path, sha256, ...columns } of figures.files) {
        await tx.nativeUpdate(DownloadFile, { taskId: id, path }, { ...columns, ...(sha256 === undefined ? {} : { sha256 }) });
      }
    });
  }

  async saveScan(id: string, path: string, scan: ScanReport): Promise<void> {
    await this.#em().nativeUpdate(DownloadFile, { taskId: id, path }, { scan });
  }

  async change(id: string, columns: Partial<Pick<DownloadTask, 'priority' | 'maxBytesPerSecond'>>): Promise<void> {
    await this.#em().nativeUpdate(DownloadTask, { id }, columns);
    await this.touch(id);
  }

  async remove({ id, status }: Pick<TaskRow, 'id' | 'status'>): Promise<void> {
    await this.#em().transactional(async (tx) => {
      await tx.nativeDelete(DownloadFile, { taskId: id });
      await tx.nativeDelete(DownloadTask, { id });
    });
    this.#events.publish('download.changed', id, { taskId: id, status, removed: true });
  }

  #tell(id: string, status: DownloadStatus): void {
    this.#events.publish('download.changed', id, { taskId: id, status });
  }
}

async function assertRoomInQueue(tx: SqlEntityManager): Promise<void> {
  if ((await tx.count(DownloadTask, { status: { $in: [...unfinishedStatuses] } })) < unfinishedMax) return;
  throw new AppError('OVERLOADED', `There are ${unfinishedMax} downloads that have not ended; let some of them end, or cancel some.`, { retryAfterSeconds: 60 });
}

function planColumns({ revision, variant, variantKey, format, quantization, totalBytes }: DownloadPlan) {
  return { revision, variant, variantKey, format, quantization, totalBytes };
}

function fileRows(taskId: string, plan: DownloadPlan, status: 'pending' | 'completed') {
  return plan.files.map(({ path, sizeBytes, sha256, gitSha1, sourceStatus }, position) => {
    const downloadedBytes = status === 'completed' ? sizeBytes : 0;
    return { id: newId(), taskId, position, path, sizeBytes, downloadedBytes, status, sha256, gitSha1, sourceStatus, scan: null };
  });
}

function insertTask(tx: SqlEntityManager, { id, now, input }: { id: string; now: Date; input: NewTask }): void {
  const { plan, ...asked } = input;
  const isDone = asked.status === 'completed';
  const nothingYet = { revision: null, variantKey: null, format: null, quantization: null, totalBytes: null };
  tx.create(DownloadTask, {
    ...asked,
    ...(plan ? planColumns(plan) : nothingYet),
    id,
    downloadedBytes: isDone ? (plan?.totalBytes ?? 0) : 0,
    attempt: 0,
    createdAt: now,
    startedAt: isDone ? now : null,
    finishedAt: isDone ? now : null,
  });
  for (const row of plan ? fileRows(id, plan, isDone ? 'completed' : 'pending') : []) tx.create(DownloadFile, row);
  tx.create(StateEvent, { kind: downloadMachine.name, subjectId: id, fromState: null, toState: asked.status, reason: null, at: now });
}
