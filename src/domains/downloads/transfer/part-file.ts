import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { makeFolder } from '../../../platform/make-folder.ts';
import type { Clock } from '../../../shared/clock.ts';
import { toStorageError } from './faults.ts';
import { PartMap } from './part-map.ts';
import { preallocate } from './preallocate.ts';
import { type FileIdentity, findSidecar, removePartFiles, type Sidecar, type SidecarState, sidecarPathOf, syncedSidecarPathOf, trustedProgress, writeSidecar } from './sidecar.ts';

/**
 * A kill loses what was written since the last save. With what came while that save was under way and what waits in
 * memory for a write, the two figures keep the loss below 16 MiB.
 */
const saveBytes = 4 * 1024 * 1024;
/** Writers wait for the save when it lags behind this far. */
const unsavedBytesMax = 5 * 1024 * 1024;
const saveEveryMs = 1000;
/** A power cut loses what was written since the last sync. */
const syncBytes = 64 * 1024 * 1024;
const syncEveryMs = 1000;

export type PartFileOptions = { path: string; identity: FileIdentity; partBytes: number; clock: Clock; bootId: string | null };

/**
 * The growing file and the map of what is in it. The map on the disk never claims a byte that is not in the file, so
 * that a kill at any moment costs a few seconds of traffic and never a wrong file.
 */
export class PartFile {
  readonly path: string;
  readonly map: PartMap;
  readonly #handle: FileHandle;
  readonly #options: PartFileOptions;
  #state: SidecarState;
  #unsaved = 0;
  #unsynced = 0;
  #savedAtMs: number;
  #syncedAtMs: number;
  #saving: Promise<void> | null = null;
  #syncing: Promise<void> | null = null;
  #failure: unknown;
  readonly #timer: NodeJS.Timeout;

  constructor(handle: FileHandle, options: PartFileOptions, map: PartMap, state: SidecarState) {
    this.path = options.path;
    this.map = map;
    this.#handle = handle;
    this.#options = options;
    this.#state = state;
    this.#savedAtMs = options.clock.monotonicMs();
    this.#syncedAtMs = this.#savedAtMs;
    this.#timer = setInterval(() => this.#keepUp(), saveEveryMs / 4).unref();
  }

  get etag(): SidecarState['etag'] {
    return this.#state.etag;
  }

  get verified(): string | null {
    return this.#state.verified;
  }

  noteEtag(etag: NonNullable<SidecarState['etag']>): void {
    this.#state = { ...this.#state, etag };
  }

  /** Writes at `position`; the bytes count as there from then on. */
  async write(pieces: readonly Uint8Array[], position: number): Promise<void> {
    this.#throwFailure();
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    await this.#writeAll(pieces, position);
    let at = position;
    // A piece that runs over the end of a part belongs to two of them.
    while (at < position + length) {
      const index = Math.floor(at / this.map.partBytes);
      const bytes = Math.min(position + length, (index + 1) * this.map.partBytes) - at;
      this.map.advance(index, bytes);
      at += bytes;
    }
    this.#unsaved += length;
    this.#unsynced += length;
    this.#keepUp();
    if (this.#unsaved > unsavedBytesMax) await this.#saving;
    this.#throwFailure();
  }

  /** All bytes are on the disk, and the map says so. */
  async seal(): Promise<void> {
    await this.#syncing;
    await this.#guard(this.#sync());
    this.#throwFailure();
  }

  async markVerified(sha256: string): Promise<void> {
    this.#state = { ...this.#state, verified: sha256 };
    await this.#saveSynced();
    await this.#save();
  }

  /** Leaves a map of everything that was written. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#syncing;
    await this.#saving;
    try {
      if (this.#unsaved > 0 && this.#failure === undefined) await this.#save();
    } catch (error) {
      // A full disk takes no map either; what ended the transfer is most likely the same.
      throw toStorageError(error, this.#options.identity.sizeBytes - this.map.doneBytes);
    } finally {
      await this.#handle.close();
    }
  }

  async #writeAll(pieces: readonly Uint8Array[], position: number): Promise<void> {
    const { sizeBytes } = this.#options.identity;
    try {
      let rest = [...pieces];
      for (let at = position; rest.length > 0; ) {
        const { bytesWritten } = await this.#handle.writev(rest, at);
        at += bytesWritten;
        rest = withoutFirst(rest, bytesWritten);
      }
    } catch (error) {
      throw toStorageError(error, sizeBytes - this.map.doneBytes);
    }
  }

  /** Starts the save and the sync that are due; one of each at a time. */
  #keepUp(): void {
    if (this.#failure !== undefined) return;
    const nowMs = this.#options.clock.monotonicMs();
    const isSaveDue = this.#unsaved >= saveBytes || (this.#unsaved > 0 && nowMs - this.#savedAtMs >= saveEveryMs);
    if (isSaveDue) this.#saving ??= this.#guard(this.#save()).finally(() => (this.#saving = null));
    const isSyncDue = this.#unsynced >= syncBytes || (this.#unsynced > 0 && nowMs - this.#syncedAtMs >= syncEveryMs);
    if (isSyncDue) this.#syncing ??= this.#guard(this.#sync()).finally(() => (this.#syncing = null));
  }

  /** A save that fails behind the writers' backs fails the next write. */
  async #guard(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#failure ??= toStorageError(error, this.#options.identity.sizeBytes - this.map.doneBytes);
    }
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure as Error;
  }

  #sidecar(): Sidecar {
    const { identity, bootId } = this.#options;
    return { identity, partBytes: this.map.partBytes, bootId, ...this.#state, done: this.map.progress() };
  }

  async #save(): Promise<void> {
    this.#savedAtMs = this.#options.clock.monotonicMs();
    this.#unsaved = 0;
    await writeSidecar(sidecarPathOf(this.path), this.#sidecar(), false);
  }

  /** The copy that outlives a power cut: bytes that are not synced do not exist in it. */
  async #saveSynced(): Promise<void> {
    await writeSidecar(syncedSidecarPathOf(this.path), { ...this.#sidecar(), done: this.#state.synced }, true);
  }

  async #sync(): Promise<void> {
    const synced = this.map.progress();
    this.#syncedAtMs = this.#options.clock.monotonicMs();
    this.#unsynced = 0;
    try {
      await this.#handle.datasync();
    } catch (error) {
      // After a failed sync the kernel may have dropped what it could not write: only earlier syncs count.
      this.#failure ??= toStorageError(error, this.#options.identity.sizeBytes - this.map.doneBytes);
      await this.#saving;
      await writeSidecar(sidecarPathOf(this.path), { ...this.#sidecar(), done: this.#state.synced, verified: null }, false);
      throw error;
    }
    this.#state = { ...this.#state, synced };
    await this.#saveSynced();
  }
}

/** Goes on with what is there when its sidecar says that it belongs to just this file; begins anew otherwise. */
export async function openPartFile(options: PartFileOptions): Promise<PartFile> {
  const { path, identity, bootId, partBytes } = options;
  try {
    await makeFolder(dirname(path));
    const sidecar = await findSidecar(path, identity, bootId);
    const old = sidecar ? await open(path, constants.O_RDWR | constants.O_NOFOLLOW).catch(() => null) : null;
    if (sidecar && old) {
      const progress = trustedProgress(sidecar, bootId);
      const isWhole = progress.prefix === identity.sizeBytes;
      return new PartFile(old, options, new PartMap(identity.sizeBytes, sidecar.partBytes, progress), {
        done: progress,
        synced: sidecar.synced,
        etag: sidecar.etag,
        verified: isWhole ? sidecar.verified : null,
      });
    }
    await removePartFiles(path);
    const file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW | constants.O_CREAT | constants.O_EXCL, 0o644);
    try {
      await preallocate(path, identity.sizeBytes);
    } catch (error) {
      await file.close();
      throw error;
    }
    const none = { prefix: 0, parts: [] };
    return new PartFile(file, options, new PartMap(identity.sizeBytes, partBytes), { done: none, synced: none, etag: null, verified: null });
  } catch (error) {
    throw toStorageError(error, identity.sizeBytes);
  }
}

function withoutFirst(pieces: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes;
  const rest: Uint8Array[] = [];
  for (const piece of pieces) {
    if (skip >= piece.length) skip -= piece.length;
    else {
      rest.push(piece.subarray(skip));
      skip = 0;
    }
  }
  return rest;
}
