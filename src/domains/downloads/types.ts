import type { StoredError } from '../../shared/errors.ts';
import type { Page, PageRequest } from '../../shared/paging.ts';
import type { Principal } from '../../shared/principal.ts';
import type { ScanReport } from './file-scanner.ts';
import type { DownloadStatus } from './download.machine.ts';
import type { StorageJobStatus } from './storage-job.machine.ts';

export const overrideRules = ['unsafe_format', 'scan', 'fit'] as const;
export type OverrideRule = (typeof overrideRules)[number];

export type StartDownload = {
  modelId: string;
  variant?: string;
  /** Glob patterns over the files' paths. */
  include?: readonly string[];
  exclude?: readonly string[];
  revision?: string;
  target: 'local' | 'ollama';
  /** Higher first; 0 is usual, -100..100. */
  priority: number;
  maxBytesPerSecond?: number;
  /** Rules that an ADMIN sets aside, recorded with the task. */
  override: readonly OverrideRule[];
  idempotencyKey?: string;
};

export const downloadFileStatuses = ['pending', 'running', 'verifying', 'completed', 'failed'] as const;
export type DownloadFileStatus = (typeof downloadFileStatuses)[number];

export type DownloadFileView = {
  path: string;
  sizeBytes: number;
  downloadedBytes: number;
  status: DownloadFileStatus;
  /** Bare 64 hex, null until known. */
  sha256: string | null;
  /** Null until it was looked at. */
  scan: ScanReport | null;
};

/** A task as callers see it: the row with the live figures of the process that runs it laid over. */
export type DownloadTaskView = {
  id: string;
  modelId: string;
  /** Pinned commit or digest once planned, else what was asked for; null = the source's default, not yet resolved. */
  revision: string | null;
  variant: string | null;
  target: 'local' | 'ollama';
  status: DownloadStatus;
  /** 1 = next; null unless queued. */
  queuePosition: number | null;
  priority: number;
  maxBytesPerSecond: number | null;
  override: readonly OverrideRule[];
  totalBytes: number | null;
  downloadedBytes: number;
  /** 0..1. */
  progress: number;
  speedBytesPerSecond: number;
  etaSeconds: number | null;
  attempt: number;
  error: StoredError | null;
  files: readonly DownloadFileView[];
  createdAt: Date;
  startedAt: Date | null;
  finishedAt: Date | null;
};

/** `maxBytesPerSecond` null = no limit of its own. */
export type DownloadChange = { priority?: number; maxBytesPerSecond?: number | null };

export type DownloadLimits = {
  /** Over all tasks of this process; null = none. */
  maxBytesPerSecond: number | null;
  /** Tasks at once. */
  parallel: number;
  /** Of one source at once; null = as many as run at all. */
  parallelPerSource: number | null;
  connectionsPerHost: number;
};

export type DownloadFilter = { status?: DownloadStatus; modelId?: string };

export type DownloadEvent =
  | { type: 'snapshot'; tasks: readonly DownloadTaskView[] }
  | { type: 'progress' | 'status'; task: DownloadTaskView };

export type InstalledFile = {
  path: string;
  sizeBytes: number;
  sha256: string | null;
  gitSha1: string | null;
  /** What the scanners said before it got its name, or when it was last verified; left out when none did. */
  scan?: ScanReport;
  /** What was wrong with it when it was last verified; left out when nothing was. */
  damage?: 'damaged' | 'missing';
};

export type InstalledModelView = {
  id: string;
  modelId: string;
  revision: string;
  variant: string | null;
  format: string;
  quantization: string | null;
  sizeBytes: number;
  /** Folder that the files' paths are relative to. */
  folder: string;
  files: readonly InstalledFile[];
  /** `missing` when someone removed a file behind our back. */
  verification: 'verified' | 'damaged' | 'missing';
  installedAt: Date;
  lastUsedAt: Date | null;
  /** When all its files were last compared with their digests; left out before it was asked for. */
  verifiedAt?: Date;
};

export type ImportModel = {
  /** Absolute, on the machine that the service runs on: a file, or a folder with the files of a model. */
  path: string;
  /** It becomes `local:<name>`; without one, the file's or folder's. */
  name?: string;
  override: readonly OverrideRule[];
};

export type VolumeView = { path: string; purpose: 'data' | 'models'; totalBytes: number; freeBytes: number; reservedBytes: number; usedByModelsBytes: number };

/** Use cases of the download queue; `DownloadsService` implements it. */
export type Downloads = {
  /**
   * 201 on the REST side when `created`; the same model, revision and files again while one is unfinished answers
   * that task with `created: false`. All installed already: a `completed` task. Throws MODEL_NOT_FOUND,
   * MODEL_GATED, UNSAFE_FILE, UNSUPPORTED_MODEL, INSUFFICIENT_STORAGE, IDEMPOTENCY_CONFLICT, VALIDATION_FAILED,
   * FORBIDDEN (override without ADMIN), RUNTIME_UNAVAILABLE (the Ollama server that is the target).
   */
  start(input: StartDownload, principal: Principal, signal: AbortSignal): Promise<{ task: DownloadTaskView; created: boolean }>;
  /** Throws DOWNLOAD_NOT_FOUND, INVALID_STATE (details: status, allowed). Pausing a paused task answers it. */
  pause(id: string, signal: AbortSignal): Promise<DownloadTaskView>;
  resume(id: string, signal: AbortSignal): Promise<DownloadTaskView>;
  /** Removes partial files. Cancelling a cancelled task answers it. */
  cancel(id: string, signal: AbortSignal): Promise<DownloadTaskView>;
  /** A failed or cancelled task again, from what is left of it. */
  retry(id: string, signal: AbortSignal): Promise<DownloadTaskView>;
  /** Of an unfinished task; what is left out stays as it is. Both are felt at once, also while it runs. */
  prioritize(id: string, change: DownloadChange, signal: AbortSignal): Promise<DownloadTaskView>;
  /** What holds over all tasks. */
  limits(): DownloadLimits;
  /** Felt at once by all processes; holds over restarts, until the setting itself is changed. Throws VALIDATION_FAILED. */
  limit(maxBytesPerSecond: number | null, signal: AbortSignal): Promise<DownloadLimits>;
  /** Only of an ended task; `deleteFiles` removes the model too (MODEL_IN_USE while a deployment uses it). */
  remove(id: string, options: { deleteFiles: boolean }, signal: AbortSignal): Promise<DownloadTaskView>;
  find(id: string): Promise<DownloadTaskView | null>;
  /** Throws DOWNLOAD_NOT_FOUND. */
  get(id: string): Promise<DownloadTaskView>;
  list(filter: DownloadFilter, page: PageRequest): Promise<Page<DownloadTaskView>>;
  /** The newest tasks of each of these models, `limitEach` at most, in one query. */
  listByModels(modelIds: readonly string[], limitEach: number): Promise<readonly DownloadTaskView[]>;
  /**
   * First a snapshot (of the one task, or of all unfinished ones), then changes: progress at most 4 a second per
   * task, newest wins; status at once. Ends with the task's removal when `taskId` is given, or with the signal.
   */
  watch(taskId: string | null, signal: AbortSignal): AsyncIterable<DownloadEvent>;
};

export const storageJobKinds = ['verify', 'repair', 'import', 'adopt'] as const;
export type StorageJobKind = (typeof storageJobKinds)[number];

/** Work on stored models that goes on after its request was answered. */
export type StorageJobView = {
  id: string;
  kind: StorageJobKind;
  status: StorageJobStatus;
  readBytes: number;
  /** Null while it is not known. */
  totalBytes: number | null;
  /** What it is about; once it is completed, what came of it. */
  installedModelIds: readonly string[];
  /** The download that a repair has made. */
  taskId: string | null;
  error: StoredError | null;
  startedAt: Date;
  finishedAt: Date | null;
};

export type RepairOutcome = { installedModel: InstalledModelView; task: DownloadTaskView | null };

/**
 * The long ones of `InstalledModels`, answered within about ten seconds: with `job` null when they are done by then, else
 * with what is known so far and the job that goes on. They throw as those do, and OVERLOADED. `ModelJobs` implements it.
 */
export type StorageJobs = {
  verify(id: string, signal: AbortSignal): Promise<{ installedModel: InstalledModelView; job: StorageJobView | null }>;
  repair(id: string, principal: Principal, signal: AbortSignal): Promise<RepairOutcome & { job: StorageJobView | null }>;
  import(input: ImportModel, principal: Principal, signal: AbortSignal): Promise<{ installedModels: readonly InstalledModelView[]; job: StorageJobView | null }>;
  adopt(modelId: string | null, signal: AbortSignal): Promise<{ installedModels: readonly InstalledModelView[]; job: StorageJobView | null }>;
  /** Also of other processes; ended ones for a week. */
  find(id: string): Promise<StorageJobView | null>;
  /**
   * Ends one that runs, also of another process, which hears of it within about a second; the model stays as it was.
   * One that was cancelled before is answered as it is. Throws NOT_FOUND, INVALID_STATE (it has ended otherwise).
   */
  cancel(id: string): Promise<StorageJobView>;
};

/** Models on disk; `ModelStore` implements it. */
export type InstalledModels = {
  list(page: PageRequest): Promise<Page<InstalledModelView>>;
  find(id: string): Promise<InstalledModelView | null>;
  /** All variants of the model that are installed, newest first. */
  findByModel(modelId: string): Promise<readonly InstalledModelView[]>;
  /** The same for many models in one query. */
  findByModels(modelIds: readonly string[]): Promise<readonly InstalledModelView[]>;
  /** Marks use now. Best effort for deployments. */
  touch(id: string): Promise<void>;
  /** Throws NOT_FOUND, MODEL_IN_USE. Removes files that no other installed model shares. */
  delete(id: string, signal: AbortSignal): Promise<InstalledModelView>;
  volumes(): Promise<readonly VolumeView[]>;
  /** Reads all files and compares them with their digests, which takes as long as reading them. Throws NOT_FOUND. */
  verify(id: string, signal: AbortSignal): Promise<InstalledModelView>;
  /**
   * Verifies, and makes a download of what is wrong: only the parts that are. `task` is null when nothing is. Throws
   * NOT_FOUND, UNSUPPORTED_MODEL (an imported one), FORBIDDEN, INSUFFICIENT_STORAGE.
   */
  repair(id: string, principal: Principal, signal: AbortSignal): Promise<RepairOutcome>;
  /**
   * One installed model for each variant that is found there. ADMIN only. Throws FORBIDDEN, VALIDATION_FAILED,
   * FILE_NOT_FOUND, UNSAFE_FILE (also what a scan refuses), UNSUPPORTED_MODEL, INSUFFICIENT_STORAGE.
   */
  import(input: ImportModel, principal: Principal, signal: AbortSignal): Promise<readonly InstalledModelView[]>;
  /** Enters what other tools have put into the shared Hugging Face cache, whole and sound: all, or the one model. Answers what is new. */
  adopt(modelId: string | null, signal: AbortSignal): Promise<readonly InstalledModelView[]>;
};
