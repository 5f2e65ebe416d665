import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Catalog } from '../catalog/catalog.ts';
import { parseModelRef } from '../catalog/model-ref.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Instances } from '../../shared/instances.ts';
import type { JobQueue } from '../../shared/job-queue.ts';
import type { Logger } from '../../shared/logger.ts';
import { downloadMachine, type DownloadStatus, isUnfinished } from './download.machine.ts';
import { DownloadRepository, type FileRow, type TaskRow } from './download.repository.ts';
import { DownloadsService } from './downloads.service.ts';
import { FiguresBoard } from './figures-board.ts';
import type { FileScanner } from './file-scanner.ts';
import { followFigures, followLimits } from './followers.ts';
import { sweepImports } from './import-model.ts';
import { InstalledModelRepository } from './installed-model.repository.ts';
import { sourceOf, type Sources } from './model-lookup.ts';
import { ModelStore, type ModelStoreOptions } from './model-store.ts';
import type { OllamaStore } from './ollama-store.ts';
import { PartDigestRepository } from './part-digest.repository.ts';
import { downloadQueue, enqueueTask } from './queue.ts';
import type { RepairDeps } from './repair-model.ts';
import { RetrySchedule } from './retry-schedule.ts';
import { ScanSuite } from './scan-suite.ts';
import { createBuiltInScanners } from './scanners/built-in-scanners.ts';
import { ScanThread } from './scanners/scan-thread.ts';
import { ModelJobs } from './storage-jobs.ts';
import { StorageJobRepository } from './storage-job.repository.ts';
import { SpeedLimitRepository } from './speed-limit.repository.ts';
import { DiskBudget, type PromisedFile } from './storage/disk-budget.ts';
import { createLayout, instanceOf, type ModelLayout } from './storage/model-layout.ts';
import { PartDigests } from './storage/part-digests.ts';
import { blobKeyOf, TaskFiles } from './task-files.ts';
import { TaskRunner } from './task-runner.ts';
import { readBootId } from './transfer/boot-id.ts';
import type { ByteSource } from './transfer/byte-source.ts';
import { createByteSource } from './transfer/choose-byte-source.ts';
import { defaultTransferSettings, type TransferDeps, type TransferSettings } from './transfer/file-transfer.ts';
import { HostSlots } from './transfer/host-slots.ts';
import { removePartFiles } from './transfer/sidecar.ts';
import { TokenBucket } from './transfer/token-bucket.ts';
import type { DownloadLimits, Downloads, InstalledModels, StorageJobs } from './types.ts';

export type DownloadsConfig = {
  /** Tasks at once in this process. */
  parallel: number;
  /** Of one source; null or left out = no limit of its own. */
  parallelPerSource?: number | null;
  connectionsPerHost: number;
  /** Over all tasks; null = no limit. */
  maxBytesPerSecond: number | null;
  hfCacheDir: string;
  modelsDir: string;
  dataDir: string;
  /** Look at the start for models that other tools have put into the shared cache. */
  adoptAtStart: boolean;
  /** Long work on stored models is answered by then, done or not; default 10 s. */
  answerWithinMs?: number;
  /** Left free on every volume; null or left out = 5 % of it or 2 GiB, whichever is less. */
  reserveBytes?: number | null;
  transfer?: Partial<TransferSettings>;
};

export type DownloadsDeps = {
  em: SqlEntityManager;
  catalog: Catalog;
  sources: Sources;
  jobs: JobQueue;
  events: EventBus;
  clock: Clock;
  logger: Logger;
  config: DownloadsConfig;
  isModelInUse: (installedModelId: string) => Promise<boolean>;
  instances: Pick<Instances, 'self' | 'isAlive' | 'onDeath'>;
  /** True when no other process works on this database: what rows say is running then is not. */
  soleWorker?: boolean;
  /** Beside the built-in ones. */
  scanners?: readonly FileScanner[];
  userAgent?: string;
  bytes?: ByteSource;
  ollama: OllamaStore;
};

export type DownloadsRoom = {
  downloads: Downloads;
  installed: InstalledModels;
  storageJobs: StorageJobs;
  /** Takes up what an earlier process has left, and works from then on. Once the job queue has started. */
  start(): Promise<void>;
  /** Ends running transfers where they are; they go on at the next start. Before the job queue stops. */
  stop(signal: AbortSignal): Promise<void>;
  /** Removes the oldest records of ended downloads beyond `keptMax`, with what failed ones have left; answers how many. */
  purge(keptMax?: number): Promise<number>;
};

const connectTimeoutMs = 10_000;
const answerWithinMs = 10_000;
/** Records of ended downloads that are kept. */
const endedMax = 10_000;
const purgedAtOnce = 100;
/** In the hands of a worker, and not waiting. */
const workingStatuses: readonly DownloadStatus[] = ['running', 'verifying', 'scanning'];

/** The download room, wired. */
export function createDownloads(deps: DownloadsDeps): DownloadsRoom {
  const { em, events, clock, jobs, logger: root, config } = deps;
  const logger = root.child({ room: 'downloads' });
  const repository = new DownloadRepository({ em, events, clock });
  const installed = new InstalledModelRepository(em);
  const board = new FiguresBoard(clock);
  const layoutOf = createLayouts(deps);
  const parts = createParts(repository, layoutOf, hasSourceIn(deps));
  const { hfCacheDir, modelsDir, dataDir, reserveBytes = null } = config;
  const budget = new DiskBudget({ dataDir, hfCacheDir, modelsDir, reserveBytes, promised: parts.promised });
  const transfer = createTransfer(deps, logger);
  const thread = new ScanThread();
  const scans = new ScanSuite({ scanners: [...createBuiltInScanners(thread), ...(deps.scanners ?? [])], clock, logger });
  const files = new TaskFiles({ transfer, scans, logger });
  const digests = new PartDigests(new PartDigestRepository(em), logger);
  const models = createStore(deps, { repository, installed, budget, scans, digests, layoutOf, bootId: transfer.bootId, getTask: (id) => downloads.get(id) });
  const common = { repository, installed, catalog: deps.catalog, sources: deps.sources, ollama: deps.ollama, budget, board, events, clock, layoutOf, removePartsOf: parts.removeOf };
  const retries = createRetries(repository, jobs, clock, logger);
  const limit = new TokenBucket(clock, config.maxBytesPerSecond);
  const storedLimit = new SpeedLimitRepository({ em, clock, configured: config.maxBytesPerSecond });
  const runner = new TaskRunner({ ...common, files, limit, logger, onRetryAt: (taskId, at) => retries.at(taskId, at), onInstalled: (placed) => digests.remember(placed) });
  const limits = () => limitsOf(config, limit);
  const downloads: DownloadsService = new DownloadsService({ ...common, runner, retries, jobs, models, limit, storedLimit, limits });
  const storageJobs = createModelJobs(deps, models, logger);
  const stopping = new AbortController();
  let adopted = Promise.resolve();
  return {
    downloads,
    installed: models,
    storageJobs,
    start: async () => {
      followFigures(events, board, stopping.signal, logger);
      await followLimits(events, { limit, storedLimit, runner }, stopping.signal, logger);
      await reconcile({ repository, jobs, retries, clock, soleWorker: deps.soleWorker ?? false });
      await storageJobs.start();
      await sweepImports(modelsDir, (id) => deps.instances.isAlive(id));
      digests.forgetAllBut(() => installed.sha256s());
      retries.start();
      if (config.adoptAtStart) adopted = adoptInBackground(models, stopping.signal, logger);
      await jobs.work(downloadQueue, config.parallel, runner.handle, { perGroup: config.parallelPerSource ?? null });
    },
    stop: async () => {
      stopping.abort();
      await retries.stop();
      await Promise.all([runner.stop(), adopted, storageJobs.stop()]);
      await Promise.all([transfer.bytes.close(), thread.close(), digests.close()]);
    },
    purge: (keptMax = endedMax) => purgeEnded(repository, parts.removeOf, keptMax),
  };
}

async function purgeEnded(repository: DownloadRepository, removePartsOf: (task: TaskRow) => Promise<void>, keptMax: number): Promise<number> {
  for (let removed = 0; ; ) {
    const rows = await repository.endedBeyond(keptMax, purgedAtOnce);
    for (const row of rows) {
      // The others have left nothing.
      if (row.status === 'failed') await removePartsOf(row);
      await repository.remove(row);
    }
    removed += rows.length;
    if (rows.length < purgedAtOnce) return removed;
  }
}

function createModelJobs({ em, instances, clock, config }: DownloadsDeps, models: ModelStore, logger: Logger): ModelJobs {
  const repository = new StorageJobRepository(em);
  return new ModelJobs({ repository, work: models.work, getModel: (id) => models.get(id), instances, clock, logger, answerWithinMs: config.answerWithinMs ?? answerWithinMs });
}

function limitsOf({ parallel, parallelPerSource = null, connectionsPerHost }: DownloadsConfig, { bytesPerSecond }: TokenBucket): DownloadLimits {
  return { maxBytesPerSecond: bytesPerSecond, parallel, parallelPerSource, connectionsPerHost };
}

async function adoptInBackground(models: ModelStore, signal: AbortSignal, logger: Logger): Promise<void> {
  try {
    await models.adopt(null, signal);
  } catch (error) {
    if (!signal.aborted) logger.warn({ error }, 'the shared cache could not be looked through for models');
  }
}

type StoreParts = Pick<ModelStoreOptions, 'budget' | 'scans' | 'getTask'> & Pick<RepairDeps, 'repository' | 'digests' | 'layoutOf' | 'bootId'> & { installed: InstalledModelRepository };

function createStore(deps: DownloadsDeps, parts: StoreParts): ModelStore {
  const { config, catalog, clock, jobs, sources, isModelInUse } = deps;
  const { hfCacheDir, modelsDir, dataDir } = config;
  const { repository, installed, budget, scans, digests, layoutOf, bootId, getTask } = parts;
  const logger = deps.logger.child({ room: 'downloads' });
  const importing = { installed, catalog, scans, budget, clock, logger, dataDir, layout: { hfCacheDir, modelsDir, instance: instanceOf(dataDir) }, instanceId: deps.instances.self.id };
  const repairing = { repository, digests, budget, jobs, bootId, layoutOf, hasSource: hasSourceIn(deps) };
  const adopting = { repository, installed, sources, catalog, scans, digests, clock, logger, hfCacheDir };
  return new ModelStore({ repository: installed, budget, clock, hfCacheDir, modelsDir, isModelInUse, scans, importing, repairing, adopting, getTask });
}

function createTransfer({ bytes, userAgent = 'llm-manager', clock, config }: DownloadsDeps, logger: Logger): TransferDeps {
  const { connectionsPerHost } = config;
  return {
    bytes: bytes ?? createByteSource({ connectTimeoutMs, userAgent }),
    slots: new HostSlots(clock, connectionsPerHost),
    clock,
    logger,
    bootId: readBootId(),
    settings: { ...defaultTransferSettings, connections: connectionsPerHost, ...config.transfer },
  };
}

function hasSourceIn({ sources }: Pick<DownloadsDeps, 'sources'>): (modelId: string) => boolean {
  return (modelId) => sources.has(parseModelRef(modelId).source);
}

type LayoutOf = (task: { modelId: string; requestedRevision: string | null }, revision: string) => ModelLayout;

function createLayouts({ sources, config }: DownloadsDeps): LayoutOf {
  const { hfCacheDir, modelsDir, dataDir } = config;
  const instance = instanceOf(dataDir);
  return ({ modelId, requestedRevision }, revision) => {
    const parsed = parseModelRef(modelId);
    const { store } = sourceOf(sources, parsed).capabilities;
    return createLayout({ store, hfCacheDir, modelsDir, instance }, { ref: { ...parsed, revision: parsed.revision ?? requestedRevision }, revision });
  };
}

/** What all tasks together have on the disk, or will have. */
function createParts(repository: DownloadRepository, layoutOf: LayoutOf, hasSource: (modelId: string) => boolean) {
  const placesOf = (task: TaskRow, files: readonly FileRow[]): PromisedFile[] => {
    // What an Ollama server fetches lies in its own store.
    if (typeof task.revision !== 'string' || task.target === 'ollama') return [];
    // The source may have been a plug-in's that is not loaded any more; where its files would lie nobody knows then.
    if (!hasSource(task.modelId)) return [];
    const layout = layoutOf({ modelId: task.modelId, requestedRevision: task.requestedRevision ?? null }, task.revision);
    return files.map((file) => ({ taskId: task.id, isActive: workingStatuses.includes(task.status), place: layout.place(blobKeyOf(file)), sizeBytes: file.sizeBytes }));
  };
  const promised = async (): Promise<PromisedFile[]> => {
    const rows = await repository.withFiles(await repository.listByStatus(downloadMachine.states.filter(isUnfinished)));
    return rows.flatMap(({ task, files }) => placesOf(task, files));
  };
  /** Partial files of the task, but for those that another unfinished task goes on with. */
  const removeOf = async (task: TaskRow): Promise<void> => {
    const others = new Set((await promised()).filter(({ taskId }) => taskId !== task.id).map(({ place }) => place.partPath));
    const [own] = await repository.withFiles([task]);
    for (const { place } of placesOf(task, own?.files ?? [])) if (!others.has(place.partPath)) await removePartFiles(place.partPath);
  };
  return { promised, removeOf };
}

function createRetries(repository: DownloadRepository, jobs: JobQueue, clock: Clock, logger: Logger): RetrySchedule {
  return new RetrySchedule({
    clock,
    onDue: (taskId) => bringBack(taskId, repository, jobs),
    sweep: () => sweep(repository, jobs, clock),
    onError: (error) => logger.warn({ error }, 'waiting downloads could not be looked at; the next look is soon'),
  });
}

async function bringBack(taskId: string, repository: DownloadRepository, jobs: JobQueue): Promise<void> {
  await repository.move(taskId, 'queued', { from: ['retrying'], patch: { retryAt: null } });
  const row = await repository.find(taskId);
  if (row?.status === 'queued') await enqueueTask(jobs, row);
}

/** Adding a job that is there already changes nothing, so all that should have one get one. */
async function sweep(repository: DownloadRepository, jobs: JobQueue, clock: Clock): Promise<void> {
  const now = clock.now().getTime();
  for (const row of await repository.listByStatus(['queued', 'retrying', 'running', 'verifying', 'scanning'])) {
    if (row.status !== 'retrying') await enqueueTask(jobs, row);
    else if (!row.retryAt || row.retryAt.getTime() <= now) await bringBack(row.id, repository, jobs);
  }
}

/** A new start is a good moment to try again, and the clock may have been wrong; only a server that named a time is left alone until then. */
function dueAt({ retryAt, error }: TaskRow, now: Date): Date {
  if (error?.code === 'RATE_LIMITED' && retryAt) return retryAt;
  return new Date(Math.min(retryAt?.getTime() ?? 0, now.getTime() + dueSoonMs));
}

const dueSoonMs = 5_000;

async function reconcile({ repository, jobs, retries, clock, soleWorker }: { repository: DownloadRepository; jobs: JobQueue; retries: RetrySchedule; clock: Clock; soleWorker: boolean }): Promise<void> {
  for (const row of await repository.listByStatus(['queued', 'retrying', 'running', 'verifying', 'scanning'])) {
    const { id, status } = row;
    if (status === 'retrying') {
      retries.at(id, dueAt(row, clock.now()));
      continue;
    }
    if (status !== 'queued' && soleWorker) await repository.move(id, 'queued', { from: ['running', 'verifying', 'scanning'], reason: 'its worker is gone' });
    await enqueueTask(jobs, row);
  }
}
