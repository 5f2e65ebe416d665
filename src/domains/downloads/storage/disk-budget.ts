import type { VolumeView } from '../types.ts';
import { assertRoom, readVolume, reserveOf } from './disk-space.ts';
import { allocatedBytes } from './model-files.ts';
import type { BlobPlace } from './model-layout.ts';

/** A file that some unfinished task will put on the disk; an active one is putting it there now. */
export type PromisedFile = { taskId: string; isActive: boolean; place: BlobPlace; sizeBytes: number };
type FileToPlace = Pick<PromisedFile, 'place' | 'sizeBytes'>;

export type DiskBudgetOptions = {
  dataDir: string;
  hfCacheDir: string;
  modelsDir: string;
  /** Null = 5 % of the volume or 2 GiB, whichever is less. */
  reserveBytes: number | null;
  /** Files of all unfinished tasks. */
  promised: () => Promise<readonly PromisedFile[]>;
};

/**
 * Room on the disks, counted with what is promised to tasks that are not done: a queue that does not fit as a whole is
 * refused before its first byte, not after its last.
 */
export class DiskBudget {
  readonly #options: DiskBudgetOptions;

  constructor(options: DiskBudgetOptions) {
    this.#options = options;
  }

  /** Before a task is made: throws INSUFFICIENT_STORAGE when its files do not fit beside all that is promised. */
  async assertRoomForNew(root: string, files: readonly FileToPlace[]): Promise<void> {
    await this.#assertRoom(root, files, await this.#options.promised());
  }

  /** Before a task's first byte. Those behind it in the queue do not count: it would wait for them, and they for it. */
  async assertRoomToRun(taskId: string, root: string, files: readonly FileToPlace[]): Promise<void> {
    const promised = await this.#options.promised();
    await this.#assertRoom(root, files, promised.filter((file) => file.isActive && file.taskId !== taskId));
  }

  async #assertRoom(root: string, files: readonly FileToPlace[], promised: readonly PromisedFile[]): Promise<void> {
    const volume = await readVolume(root);
    const own = new Set(files.map(({ place }) => place.blobPath));
    const others = promised.filter((file) => !own.has(file.place.blobPath));
    const neededBytes = await sumOutstanding(files);
    const promisedBytes = await sumOutstanding(await onDevice(others, volume.device));
    assertRoom(volume, { neededBytes, promisedBytes, reserveBytes: reserveOf(volume, this.#options.reserveBytes) });
  }

  async volumes(installed: readonly { folder: string; sizeBytes: number }[]): Promise<VolumeView[]> {
    const { dataDir, hfCacheDir, modelsDir, reserveBytes } = this.#options;
    const promised = await this.#options.promised();
    const places = [
      { path: dataDir, purpose: 'data' as const },
      { path: hfCacheDir, purpose: 'models' as const },
      { path: modelsDir, purpose: 'models' as const },
    ];
    return await Promise.all(
      places.map(async ({ path, purpose }) => {
        const volume = await readVolume(path);
        const isBelow = (folder: string): boolean => folder.startsWith(`${path}/`);
        const used = purpose === 'models' ? installed.filter(({ folder }) => isBelow(folder)) : [];
        return {
          path,
          purpose,
          totalBytes: volume.totalBytes,
          freeBytes: volume.freeBytes,
          reservedBytes: reserveOf(volume, reserveBytes) + (await sumOutstanding(await onDevice(promised, volume.device))),
          usedByModelsBytes: used.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
        };
      }),
    );
  }
}

async function onDevice<File extends { place: BlobPlace }>(files: readonly File[], device: number): Promise<File[]> {
  const devices = new Map<string, number>();
  const kept: File[] = [];
  for (const file of files) {
    const folder = file.place.blobPath.slice(0, file.place.blobPath.lastIndexOf('/'));
    const known = devices.get(folder) ?? (await readVolume(folder)).device;
    devices.set(folder, known);
    if (known === device) kept.push(file);
  }
  return kept;
}

/** Bytes that are not on the disk yet; a blob that several tasks share counts once. */
async function sumOutstanding(files: readonly { place: BlobPlace; sizeBytes: number }[]): Promise<number> {
  const byBlob = new Map(files.map((file) => [file.place.blobPath, file]));
  let sum = 0;
  for (const { place, sizeBytes } of byBlob.values()) sum += sizeBytes - (await allocatedBytes(place, sizeBytes));
  return sum;
}
