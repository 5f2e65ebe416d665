import type { SqlEntityManager } from '@mikro-orm/sql';
import { isId, newId } from '../../shared/ids.ts';
import type { Page, PageRequest } from '../../shared/paging.ts';
import { readRow, readRowPage } from '../../shared/persistence/read-rows.repository.ts';
import { InstalledModel } from './installed-model.entity.ts';

const listName = 'installed';

export type InstalledRow = Readonly<InstalledModel>;
export type NewInstalled = Pick<InstalledModel, 'modelId' | 'revision' | 'variant' | 'variantKey' | 'format' | 'quantization' | 'sizeBytes' | 'folder' | 'files'>;

/** Far more models than a disk holds. */
const manyMax = 10_000;

/** The only place that reads and writes rows of installed models. */
export class InstalledModelRepository {
  readonly #em: () => SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = () => em.fork();
  }

  /** Enters a model whose files are all there and compared; entering it again brings the row up to date. */
  async enter(row: NewInstalled, now: Date): Promise<string> {
    const em = this.#em();
    const { modelId, revision, variantKey } = row;
    const fresh = { ...row, id: newId(), verification: 'verified' as const, installedAt: now, lastUsedAt: null, verifiedAt: now };
    await em.upsert(InstalledModel, fresh, {
      onConflictFields: ['modelId', 'revision', 'variantKey'],
      onConflictAction: 'merge',
      onConflictExcludeFields: ['id', 'installedAt', 'lastUsedAt'],
    });
    const entered = await em.findOneOrFail(InstalledModel, { modelId, revision, variantKey }, { refresh: true });
    return entered.id;
  }

  async find(id: string): Promise<InstalledRow | null> {
    return isId(id) ? await readRow(this.#em(), InstalledModel, [['id = ?', id]]) : null;
  }

  async list(page: PageRequest): Promise<Page<InstalledRow>> {
    return await readRowPage(this.#em(), InstalledModel, { list: listName, page, matching: [] });
  }

  /** Newest first. */
  async findByModels(modelIds: readonly string[]): Promise<InstalledRow[]> {
    if (modelIds.length === 0) return [];
    return await this.#em().find(InstalledModel, { modelId: { $in: [...modelIds] } }, { orderBy: { id: 'desc' }, limit: manyMax });
  }

  async all(): Promise<InstalledRow[]> {
    return await this.#em().find(InstalledModel, {}, { orderBy: { id: 'desc' }, limit: manyMax });
  }

  /** Of the files of all models. */
  async sha256s(): Promise<Set<string>> {
    return new Set((await this.all()).flatMap(({ files }) => files.flatMap(({ sha256 }) => (sha256 === null ? [] : [sha256]))));
  }

  async touch(id: string, now: Date): Promise<void> {
    if (isId(id)) await this.#em().nativeUpdate(InstalledModel, { id }, { lastUsedAt: now });
  }

  async saveVerification(id: string, change: Pick<InstalledModel, 'verification' | 'files'>, now: Date): Promise<void> {
    await this.#em().nativeUpdate(InstalledModel, { id }, { ...change, verifiedAt: now });
  }

  async remove(id: string): Promise<void> {
    await this.#em().nativeDelete(InstalledModel, { id });
  }
}
