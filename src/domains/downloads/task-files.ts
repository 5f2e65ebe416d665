import { lstat } from 'node:fs/promises';
import type { ModelSource } from '../catalog/source.ts';
import type { ModelRef } from '../catalog/types.ts';
import { KeyedMutex } from '../../shared/async.ts';
import { AppError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { FileRow, TaskRow } from './download.repository.ts';
import type { ScanReport, ScanTarget } from './file-scanner.ts';
import type { LiveTask } from './live-task.ts';
import type { ScanSuite } from './scan-suite.ts';
import { lockBlob } from './storage/blob-lock.ts';
import { blobSize, linkFile, publishBlob, writeRef } from './storage/model-files.ts';
import type { BlobKey, BlobPlace, ModelLayout } from './storage/model-layout.ts';
import { isMissingFile, MismatchFault, toStorageError } from './transfer/faults.ts';
import { type TransferDeps, transferFile } from './transfer/file-transfer.ts';
import { hashFile } from './transfer/hasher.ts';
import { removePartFiles } from './transfer/sidecar.ts';
import type { TokenBucket } from './transfer/token-bucket.ts';
import type { InstalledFile } from './types.ts';

/** All that one run of a task works with. */
export type TaskContext = {
  task: TaskRow;
  ref: ModelRef;
  /** Pinned. */
  revision: string;
  files: readonly FileRow[];
  layout: ModelLayout;
  source: ModelSource;
  live: LiveTask;
  limits: readonly TokenBucket[];
  /** All bytes of all files are there, or (a file had to be begun anew) no longer. */
  onPhase: (phase: 'running' | 'verifying') => void;
  /** Stores what the scanners say of a file. */
  onScanned: (path: string, report: ScanReport) => Promise<void>;
};

export type TaskFilesOptions = { transfer: TransferDeps; scans: ScanSuite; logger: Logger };

/** What is done to the files of a task, one step after the other. Every step may be repeated after a crash. */
export class TaskFiles {
  readonly #options: TaskFilesOptions;
  /** One fetch of a blob at a time: a second task that wants it waits and then finds it. */
  readonly #blobs = new KeyedMutex();

  constructor(options: TaskFilesOptions) {
    this.#options = options;
  }

  /** Brings the file into its place or its partial place, compared with its checksum. */
  async fetch(file: FileRow, context: TaskContext, signal: AbortSignal): Promise<void> {
    const place = context.layout.place(blobKeyOf(file));
    await this.#exclusively(place, signal, async () => {
      const sha256 = (await this.#adopt(file, place, context, signal)) ?? (await this.#transfer(file, place, context, signal));
      context.live.complete(file.path, sha256);
    });
  }

  /** The file's verdict, stored with the task. Throws BLOCKED_BY_SCAN; the file that was refused is removed. */
  async scan(file: FileRow, context: TaskContext, signal: AbortSignal): Promise<ScanReport> {
    const { task, layout, live, onScanned } = context;
    const { logger } = this.#options;
    const place = layout.place(blobKeyOf(file));
    const report = await this.#report(file, context, signal);
    await onScanned(file.path, report);
    const facts = { taskId: task.id, path: file.path, verdict: report.verdict, findings: report.findings };
    if (report.findings.length > 0) logger.warn(facts, 'a scanner has something to say about a file');
    const blocking = report.findings.find(({ severity }) => severity === 'block');
    if (!blocking) return report;
    if (task.override.includes('scan')) {
      logger.warn({ ...facts, createdBy: task.createdBy }, 'an administrator has set the scan of a file aside');
      return report;
    }
    live.fail(file.path);
    await removePartFiles(place.partPath);
    throw new AppError('BLOCKED_BY_SCAN', blocking.message, { details: { rule: blocking.rule, path: file.path } });
  }

  /** Gives the files their final names, and answers what is installed then. */
  async publish(context: TaskContext, reports: ReadonlyMap<string, ScanReport>, signal: AbortSignal): Promise<InstalledFile[]> {
    try {
      await this.#place(context, signal);
    } catch (error) {
      // A file that went away at this moment is fetched again by the next run.
      throw isMissingFile(error) ? error : toStorageError(error, 0);
    }
    const sha256s = new Map(context.live.checksums());
    return context.files.map(({ path, sizeBytes, gitSha1, sha256 }) => {
      const scan = reports.get(path);
      return { path, sizeBytes, sha256: sha256s.get(path) ?? sha256 ?? null, gitSha1: gitSha1 ?? null, ...(scan ? { scan } : {}) };
    });
  }

  async #place({ files, layout, task, revision }: TaskContext, signal: AbortSignal): Promise<void> {
    for (const file of files) {
      const place = layout.place(blobKeyOf(file));
      // A task that waits for this blob finds it under one name or the other, never between them.
      await this.#exclusively(place, signal, async () => {
        if (await exists(place.partPath)) await publishBlob(place);
        else if ((await blobSize(place.blobPath)) !== file.sizeBytes) throw new AppError('INTEGRITY_FAILED', `${file.path} went away while the download was being finished.`);
        // What a kill after the last rename has left of an earlier try.
        else await removePartFiles(place.partPath);
      });
    }
    for (const file of files) await linkFile(layout, file.path, layout.place(blobKeyOf(file)).blobPath);
    await writeRef(layout, task.requestedRevision ?? null, revision);
  }

  async removeParts(files: readonly FileRow[], layout: ModelLayout): Promise<void> {
    for (const file of files) await removePartFiles(layout.place(blobKeyOf(file)).partPath);
  }

  async #exclusively(place: BlobPlace, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const turn = Promise.withResolvers<undefined>();
    const onAbort = (): void => turn.reject(signal.reason as Error);
    signal.addEventListener('abort', onAbort, { once: true });
    const inTurn = this.#blobs.run(place.blobPath, async () => {
      turn.resolve(undefined);
      signal.throwIfAborted();
      const release = await lockBlob(place, signal);
      try {
        await work();
      } finally {
        await release();
      }
    });
    try {
      // Who is stopped while waiting for its turn does not wait for it; once it has begun, its end is waited for.
      inTurn.catch(() => undefined);
      await turn.promise;
      await inTurn;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** The SHA-256 of a blob that is there already and is the right one, else null. */
  async #adopt(file: FileRow, place: BlobPlace, { live }: TaskContext, signal: AbortSignal): Promise<string | null> {
    const expected = blobKeyOf(file);
    if (expected.sha256 === null && expected.gitSha1 === null) return null;
    if ((await blobSize(place.blobPath)) !== file.sizeBytes) return null;
    live.progress(file.path, file.sizeBytes, 0);
    live.verifying(file.path);
    try {
      return await hashFile(place.blobPath, expected, signal);
    } catch (error) {
      if (!(error instanceof MismatchFault)) throw error;
      this.#options.logger.warn({ path: file.path, blob: place.blobPath, reason: error.message }, 'a file in the cache is damaged and is fetched anew');
      live.progress(file.path, 0, 0);
      return null;
    }
  }

  async #transfer(file: FileRow, place: BlobPlace, context: TaskContext, signal: AbortSignal): Promise<string> {
    const { task, ref, revision, source, live, limits, onPhase } = context;
    const { path, sizeBytes, sha256, gitSha1 } = blobKeyOf(file);
    const { sha256: computed } = await transferFile(
      {
        partPath: place.partPath,
        owner: task.id,
        identity: { modelId: task.modelId, revision, path, sizeBytes, sha256, gitSha1 },
        locate: (own) => source.locate({ ref, revision, path, sha256: sha256 === null ? null : `sha256:${sha256}` }, own),
        limits,
        onProgress: (bytes, fetchedBytes) => {
          live.progress(path, bytes, fetchedBytes);
          if (fetchedBytes > 0) onPhase('running');
        },
        onVerifying: () => {
          live.verifying(path);
          if (live.isFetched) onPhase('verifying');
        },
      },
      this.#options.transfer,
      signal,
    );
    return computed;
  }

  async #report(file: FileRow, { task, layout }: TaskContext, signal: AbortSignal): Promise<ScanReport> {
    const place = layout.place(blobKeyOf(file));
    const target: Omit<ScanTarget, 'file'> = { path: file.path, sizeBytes: file.sizeBytes, sourceStatus: file.sourceStatus ?? null };
    const isSetAside = task.override.includes('scan');
    try {
      return await this.#options.scans.report({ ...target, file: place.partPath }, { isSetAside }, signal);
    } catch (error) {
      // A blob that was there before, or that another task has just given its name.
      if (!isMissingFile(error)) throw error;
      return await this.#options.scans.report({ ...target, file: place.blobPath }, { isSetAside }, signal);
    }
  }
}

/** What the source promised. A small file's row also holds a SHA-256, which is ours and names nothing. */
export function blobKeyOf({ path, sizeBytes, sha256, gitSha1 }: FileRow): BlobKey {
  return { path, sizeBytes, sha256: typeof gitSha1 === 'string' ? null : (sha256 ?? null), gitSha1: gitSha1 ?? null };
}

async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (isMissingFile(error)) return false;
    throw error;
  }
}
