import { existsSync } from 'node:fs';
import type { Clock } from '../../shared/clock.ts';
import { KeyedMutex } from '../../shared/async.ts';
import { AppError } from '../../shared/errors.ts';
import type { Principal } from '../../shared/principal.ts';
import { assertPageLimit, type Page, type PageRequest } from '../../shared/paging.ts';
import { type AdoptDeps, adoptModels } from './adopt-models.ts';
import { type ImportDeps, importModel } from './import-model.ts';
import type { InstalledModelRepository, InstalledRow } from './installed-model.repository.ts';
import { ReadCount } from './read-count.ts';
import { type RepairDeps, repairModel } from './repair-model.ts';
import type { ScanSuite } from './scan-suite.ts';
import type { DiskBudget } from './storage/disk-budget.ts';
import { areFilesThere, linkedBlobs, removeFiles, removeRefs } from './storage/model-files.ts';
import type { StorageWork } from './storage-jobs.ts';
import type { DownloadTaskView, ImportModel, InstalledModels, InstalledModelView, RepairOutcome, VolumeView } from './types.ts';
import { verifyModel } from './verify-model.ts';

export type ModelStoreOptions = {
  repository: InstalledModelRepository;
  budget: DiskBudget;
  clock: Clock;
  hfCacheDir: string;
  modelsDir: string;
  isModelInUse: (installedModelId: string) => Promise<boolean>;
  scans: ScanSuite;
  importing: ImportDeps;
  repairing: RepairDeps;
  adopting: AdoptDeps;
  getTask: (id: string) => Promise<DownloadTaskView>;
};

/** Models on disk. */
export class ModelStore implements InstalledModels {
  /** The long ones, which tell how far they are. */
  readonly work: StorageWork = {
    verify: async (id, count, signal) => {
      await this.#verify(id, count, signal);
      return await this.get(id);
    },
    repair: (id, principal, count, signal) => this.#repair(id, { principal, count }, signal),
    import: async (input, principal, count, signal) => {
      const ids = await importModel(input, principal, { ...this.#options.importing, count }, signal);
      return await Promise.all(ids.map((id) => this.get(id)));
    },
    adopt: async (modelId, count, signal) => {
      const ids = await this.#adopting.run('all', () => adoptModels(modelId, { ...this.#options.adopting, count }, signal));
      return await Promise.all(ids.map((id) => this.get(id)));
    },
  };
  readonly #options: ModelStoreOptions;
  /** Reading one model twice at once would only take twice as long. */
  readonly #verifying = new KeyedMutex();
  readonly #adopting = new KeyedMutex();

  constructor(options: ModelStoreOptions) {
    this.#options = options;
  }

  async list(page: PageRequest): Promise<Page<InstalledModelView>> {
    assertPageLimit(page.limit);
    const rows = await this.#options.repository.list(page);
    return { ...rows, items: await toViews(rows.items) };
  }

  async find(id: string): Promise<InstalledModelView | null> {
    const row = await this.#options.repository.find(id);
    return row && (await toView(row));
  }

  async findByModel(modelId: string): Promise<readonly InstalledModelView[]> {
    return await this.findByModels([modelId]);
  }

  async findByModels(modelIds: readonly string[]): Promise<readonly InstalledModelView[]> {
    return await toViews(await this.#options.repository.findByModels(modelIds));
  }

  async touch(id: string): Promise<void> {
    await this.#options.repository.touch(id, this.#options.clock.now());
  }

  async delete(id: string, signal: AbortSignal): Promise<InstalledModelView> {
    const { repository, isModelInUse } = this.#options;
    const row = await this.#row(id);
    if (await isModelInUse(id)) throw new AppError('MODEL_IN_USE', 'A deployment uses this model; stop it first.');
    signal.throwIfAborted();
    const view = await toView(row);
    // The row first: a row without files would promise a model that is not there.
    await repository.remove(id);
    await this.#forgetParts(row);
    await this.#removeFiles(row);
    return view;
  }

  async volumes(): Promise<readonly VolumeView[]> {
    return await this.#options.budget.volumes(await this.#options.repository.all());
  }

  async verify(id: string, signal: AbortSignal): Promise<InstalledModelView> {
    return await this.work.verify(id, new ReadCount(), signal);
  }

  async repair(id: string, principal: Principal, signal: AbortSignal): Promise<RepairOutcome> {
    return await this.work.repair(id, principal, new ReadCount(), signal);
  }

  async #repair(id: string, { principal, count }: { principal: Principal; count: ReadCount }, signal: AbortSignal): Promise<RepairOutcome> {
    const row = await this.#verify(id, count, signal);
    // Before damaged files lose their names: afterwards they would count as missing.
    const installedModel = await toView(row);
    if (row.verification === 'verified') return { installedModel, task: null };
    const taskId = await repairModel(row, principal, this.#options.repairing, signal);
    return { installedModel, task: await this.#options.getTask(taskId) };
  }

  async import(input: ImportModel, principal: Principal, signal: AbortSignal): Promise<readonly InstalledModelView[]> {
    return await this.work.import(input, principal, new ReadCount(), signal);
  }

  async adopt(modelId: string | null, signal: AbortSignal): Promise<readonly InstalledModelView[]> {
    return await this.work.adopt(modelId, new ReadCount(), signal);
  }

  async #verify(id: string, count: ReadCount, signal: AbortSignal): Promise<InstalledRow> {
    const { repository, scans, clock } = this.#options;
    const row = await this.#row(id);
    await this.#verifying.run(id, async () => {
      const { verification, files } = await verifyModel(row, { scans, count }, signal);
      await repository.saveVerification(id, { verification, files }, clock.now());
    });
    return await this.#row(id);
  }

  async #row(id: string): Promise<InstalledRow> {
    const row = await this.#options.repository.find(id);
    if (!row) throw new AppError('NOT_FOUND', 'There is no such installed model.');
    return row;
  }

  /** Throws NOT_FOUND. */
  async get(id: string): Promise<InstalledModelView> {
    return await toView(await this.#row(id));
  }

  async #forgetParts({ files }: InstalledRow): Promise<void> {
    const needed = await this.#options.repository.sha256s();
    this.#options.repairing.digests.forget(files.flatMap(({ sha256 }) => (sha256 === null || needed.has(sha256) ? [] : [sha256])));
  }

  async #removeFiles(row: InstalledRow): Promise<void> {
    const { repository, hfCacheDir, modelsDir } = this.#options;
    const others = (await repository.all()).filter(({ id }) => id !== row.id);
    // Another variant of the same revision shares the small files.
    const shared = new Set(others.filter(({ folder }) => folder === row.folder).flatMap(({ files }) => files.map(({ path }) => path)));
    const isShared = row.folder.startsWith(`${hfCacheDir}/`);
    const root = isShared ? hfCacheDir : modelsDir;
    const home = isShared ? homeOf(row.folder, hfCacheDir) : modelsDir;
    const paths = row.files.map(({ path }) => path).filter((path) => !shared.has(path));
    // Read once the names are gone; other tools' links into the shared cache count as well as ours.
    let needed: Set<string> | null = null;
    const isNeeded = async (blob: string): Promise<boolean> => {
      needed ??= await linkedBlobs(home);
      return needed.has(blob);
    };
    await removeFiles({ folder: row.folder, paths, root, isNeeded });
    if (isShared && !existsSync(row.folder)) await removeRefs(`${home}/refs`, row.revision, root);
  }
}

/** The folder of one model in the shared cache. */
function homeOf(folder: string, hfCacheDir: string): string {
  const [name = ''] = folder.slice(hfCacheDir.length + 1).split('/');
  return `${hfCacheDir}/${name}`;
}

/** At once: a page of models is a few hundred files. */
async function toViews(rows: readonly InstalledRow[]): Promise<InstalledModelView[]> {
  return await Promise.all(rows.map(toView));
}

async function toView(row: InstalledRow): Promise<InstalledModelView> {
  const { id, modelId, revision, format, sizeBytes, folder, files, installedAt } = row;
  const isThere = await areFilesThere(folder, files);
  return {
    id,
    modelId,
    revision,
    format,
    sizeBytes,
    folder,
    files,
    installedAt,
    variant: row.variant ?? null,
    quantization: row.quantization ?? null,
    lastUsedAt: row.lastUsedAt ?? null,
    ...(row.verifiedAt ? { verifiedAt: row.verifiedAt } : {}),
    verification: isThere ? row.verification : 'missing',
  };
}
