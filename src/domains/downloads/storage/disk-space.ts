import { stat, statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { insufficientStorage, isMissingFile } from '../transfer/faults.ts';

export type Volume = { device: number; totalBytes: number; freeBytes: number };

const reserveShare = 0.05;
const reserveBytesDefault = 2 * 1024 ** 3;

/** Of the volume that `path` lies on or will lie on. */
export async function readVolume(path: string): Promise<Volume> {
  const existing = await nearestFolder(path);
  const [figures, { dev }] = await Promise.all([statfs(existing), stat(existing)]);
  return { device: dev, totalBytes: figures.blocks * figures.bsize, freeBytes: figures.bavail * figures.bsize };
}

/** What is left alone on a volume, so that downloads never take the last byte from everybody else. */
export function reserveOf({ totalBytes }: Volume, configuredBytes: number | null): number {
  return configuredBytes ?? Math.min(reserveBytesDefault, Math.floor(totalBytes * reserveShare));
}

/** Throws INSUFFICIENT_STORAGE when the volume cannot take `neededBytes` beside what others were promised. */
export function assertRoom(volume: Volume, request: { neededBytes: number; promisedBytes: number; reserveBytes: number }): void {
  const { neededBytes, promisedBytes, reserveBytes } = request;
  const availableBytes = Math.max(0, volume.freeBytes - promisedBytes - reserveBytes);
  // What takes no room is let through on a full disk too.
  if (neededBytes > 0 && neededBytes > availableBytes) throw insufficientStorage(neededBytes, availableBytes);
}

async function nearestFolder(path: string): Promise<string> {
  for (let current = path; ; current = dirname(current)) {
    try {
      await stat(current);
      return current;
    } catch (error) {
      if (!isMissingFile(error) || dirname(current) === current) throw error;
    }
  }
}
