import type { SqlEntityManager } from '@mikro-orm/sql';
import { isId, newId } from '../../shared/ids.ts';
import { readRow, readRows } from '../../shared/persistence/read-rows.repository.ts';
import { transition } from '../../shared/persistence/transition.repository.ts';
import { StorageJob } from './storage-job.entity.ts';
import { storageJobMachine, type StorageJobStatus } from './storage-job.machine.ts';

export type StorageJobRow = Readonly<StorageJob>;
export type NewStorageJob = Pick<StorageJob, 'kind' | 'readBytes' | 'totalBytes' | 'installedModelIds' | 'instanceId' | 'startedAt'>;
export type StorageJobEnd = Partial<Pick<StorageJob, 'readBytes' | 'totalBytes' | 'installedModelIds' | 'taskId' | 'error'>>;

/** Far more than run at once. */
const manyMax = 1_000;

/** The only place that reads and writes rows of storage jobs. */
export class StorageJobRepository {
  readonly #em: () => SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = () => em.fork();
  }

  async create(job: NewStorageJob): Promise<string> {
    const id = newId();
    await this.#em().insert(StorageJob, { ...job, id, status: 'running', taskId: null, error: null, finishedAt: null });
    return id;
  }

  async find(id: string): Promise<StorageJobRow | null> {
    return isId(id) ? await readRow(this.#em(), StorageJob, [['id = ?', id]]) : null;
  }

  async running(): Promise<StorageJobRow[]> {
    return await readRows(this.#em(), StorageJob, 'where status = ? order by id limit ?', ['running', manyMax]);
  }

  /** False when it does not run any more; nothing is stored then. */
  async saveProgress(id: string, progress: Pick<StorageJob, 'readBytes' | 'totalBytes'>): Promise<boolean> {
    return (await this.#em().nativeUpdate(StorageJob, { id, status: 'running' }, progress)) > 0;
  }

  /** False when it has ended before. */
  async end(id: string, to: Exclude<StorageJobStatus, 'running'>, { at, ...patch }: StorageJobEnd & { at: Date }): Promise<boolean> {
    return (await transition<StorageJobStatus, StorageJob>(this.#em(), StorageJob, { machine: storageJobMachine, id, to, at, patch: { ...patch, finishedAt: at } })) !== null;
  }

  async purge(before: Date): Promise<void> {
    await this.#em().nativeDelete(StorageJob, { finishedAt: { $lt: before } });
  }
}
