import type { Clock } from '../../../shared/clock.ts';
import { AppError } from '../../../shared/errors.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { ByteSource } from './byte-source.ts';
import { Connections } from './connections.ts';
import { MismatchFault, toOutage, TransferFault } from './faults.ts';
import { createHasher } from './hasher.ts';
import type { HostSlots } from './host-slots.ts';
import { LocatedFile, type Locate } from './located-file.ts';
import { openPartFile, type PartFile } from './part-file.ts';
import type { Backoff } from './retry-policy.ts';
import { type FileIdentity, removePartFiles } from './sidecar.ts';
import type { TokenBucket } from './token-bucket.ts';

export type TransferSettings = {
  /** In what the file is counted, and the least that is asked for at once. */
  partBytes: number;
  /** The most that is asked for at once. */
  pieceBytes: number;
  /** Below this much for each, fewer connections are used. */
  bytesPerConnection: number;
  /** At most, for files of `largeBytes` and more. */
  connections: number;
  connectionsSmall: number;
  largeBytes: number;
  /** A connection that brings nothing for so long is given up. */
  stallMs: number;
  /** One that falls far behind the others for so long, too. */
  slowCheckMs: number;
  backoff: Backoff;
  triesMax: number;
};

export const defaultTransferSettings: TransferSettings = {
  // The last bytes come in small parts in the file's order, so that connections and hash end together.
  partBytes: 2 * 1024 * 1024,
  pieceBytes: 24 * 1024 * 1024,
  bytesPerConnection: 8 * 1024 * 1024,
  connections: 16,
  connectionsSmall: 8,
  largeBytes: 256 * 1024 * 1024,
  stallMs: 15_000,
  slowCheckMs: 5_000,
  backoff: { baseMs: 500, maxMs: 30_000 },
  triesMax: 6,
};

export type TransferDeps = {
  bytes: ByteSource;
  slots: HostSlots;
  clock: Clock;
  logger: Logger;
  bootId: Promise<string | null>;
  settings: TransferSettings;
};

export type FileTransferJob = {
  /** The partial file; it keeps this name, and whoever asked for it renames it. */
  partPath: string;
  /** The task it belongs to; tasks share a host evenly. */
  owner: string;
  identity: FileIdentity;
  locate: Locate;
  limits: readonly TokenBucket[];
  /** Bytes of the file that are there, and how many of them have just come. */
  onProgress: (bytes: number, fetchedBytes: number) => void;
  /** All bytes are there, the rest is arithmetic. */
  onVerifying: () => void;
};

/**
 * Brings one file to its partial path, whole and compared with what the source promised, going on with what an earlier
 * attempt has left. Ends with the signal's reason within moments when it aborts; what has come stays.
 *
 * Throws what the source throws for good, and AppErrors: NETWORK_FAILED, SOURCE_UNAVAILABLE, RATE_LIMITED (a later
 * attempt goes on from here), INSUFFICIENT_STORAGE, INTEGRITY_FAILED and SOURCE_CHANGED (after a second fetch from the
 * start; nothing is left of either), INTERNAL (the disk).
 */
export async function transferFile(job: FileTransferJob, deps: TransferDeps, signal: AbortSignal): Promise<{ sha256: string }> {
  for (let restarts = 0; ; restarts += 1) {
    try {
      return { sha256: await attempt(job, deps, signal) };
    } catch (error) {
      const isWrong = error instanceof MismatchFault || (error instanceof TransferFault && error.kind === 'changed');
      if (!isWrong) throw error instanceof TransferFault ? toOutage(error) : error;
      deps.logger.warn({ path: job.identity.path, modelId: job.identity.modelId, reason: error.message, restarts }, 'a fetched file is not what the source promised');
      await removePartFiles(job.partPath);
      job.onProgress(0, 0);
      if (restarts > 0) throw error instanceof MismatchFault ? integrityFailed(error) : toOutage(error);
    }
  }
}

function integrityFailed(cause: MismatchFault): AppError {
  return new AppError('INTEGRITY_FAILED', 'The file was fetched twice and neither copy has the checksum that the source promises.', { cause, internal: cause.message });
}

async function attempt(job: FileTransferJob, deps: TransferDeps, signal: AbortSignal): Promise<string> {
  const { identity, partPath } = job;
  const { clock, bootId, settings } = deps;
  signal.throwIfAborted();
  const file = await openPartFile({ path: partPath, identity, partBytes: settings.partBytes, clock, bootId: await bootId });
  try {
    job.onProgress(file.map.doneBytes, 0);
    return file.verified ?? (await complete(file, job, deps, signal));
  } finally {
    await file.close();
  }
}

async function complete(file: PartFile, job: FileTransferJob, deps: TransferDeps, signal: AbortSignal): Promise<string> {
  const { identity, limits, locate } = job;
  const { bytes, slots, clock, settings } = deps;
  const hasher = createHasher(file.path, identity);
  const onWritten = (fetchedBytes: number): void => {
    hasher.advance(file.map.prefixBytes);
    job.onProgress(file.map.doneBytes, fetchedBytes);
  };
  try {
    hasher.advance(file.map.prefixBytes);
    const located = new LocatedFile(identity, locate, () => clock.now().getTime());
    const { stallMs, slowCheckMs, backoff, triesMax, pieceBytes } = settings;
    const connections = new Connections({ bytes, file, limits, clock, stallMs, slots, owner: job.owner, located, backoff, triesMax, slowCheckMs, pieceBytes, onWritten });
    if (!file.map.isComplete) await connections.run(connectionCount(identity.sizeBytes, settings), signal);
    job.onVerifying();
    const [sealed, hashed] = await Promise.allSettled([file.seal(), hasher.finish(signal)]);
    if (sealed.status === 'rejected') throw sealed.reason as Error;
    if (hashed.status === 'rejected') throw hashed.reason as Error;
    await file.markVerified(hashed.value);
    return hashed.value;
  } finally {
    await hasher.close();
  }
}

function connectionCount(sizeBytes: number, settings: TransferSettings): number {
  const bySize = sizeBytes >= settings.largeBytes ? settings.connections : Math.min(settings.connections, settings.connectionsSmall);
  return Math.max(1, Math.min(bySize, Math.ceil(sizeBytes / settings.bytesPerConnection)));
}
