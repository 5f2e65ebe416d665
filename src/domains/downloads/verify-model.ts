import { lstat, realpath } from 'node:fs/promises';
import type { InstalledRow } from './installed-model.repository.ts';
import type { ReadCount } from './read-count.ts';
import type { ScanSuite } from './scan-suite.ts';
import { safeJoin } from './storage/safe-path.ts';
import { isMissingFile, MismatchFault } from './transfer/faults.ts';
import { hashFile } from './transfer/hasher.ts';
import type { InstalledFile } from './types.ts';

export type Verification = { verification: 'verified' | 'damaged' | 'missing'; files: InstalledFile[] };

/**
 * Reads every file of the model to its end and compares it with its digest, and looks into it again. A file that is not
 * there any more weighs more than one that is wrong.
 */
export async function verifyModel(row: Pick<InstalledRow, 'folder' | 'files'>, { scans, count }: { scans: ScanSuite; count: ReadCount }, signal: AbortSignal): Promise<Verification> {
  count.expect(row.files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
  let readBytes = 0;
  const files: InstalledFile[] = [];
  for (const file of row.files) {
    files.push(await verifyFile(row.folder, file, { scans, count }, signal));
    count.reach((readBytes += file.sizeBytes));
  }
  const verification = files.some(({ damage }) => damage === 'missing') ? 'missing' : files.some(({ damage }) => damage === 'damaged') ? 'damaged' : 'verified';
  return { verification, files };
}

async function verifyFile(folder: string, file: InstalledFile, { scans, count }: { scans: ScanSuite; count: ReadCount }, signal: AbortSignal): Promise<InstalledFile> {
  const { damage: _damage, ...rest } = file;
  const path = await placeOf(folder, file.path);
  if (path === null) return { ...rest, damage: 'missing' };
  try {
    // A git id beside it says the same; the SHA-256 of a file that came with one alone is found out here.
    const gitSha1 = file.sha256 === null ? file.gitSha1 : null;
    const sha256 = await hashFile(path, { sizeBytes: file.sizeBytes, sha256: file.sha256, gitSha1, count }, signal);
    if ((await lstat(path)).size !== file.sizeBytes) return { ...rest, damage: 'damaged' };
    // Who verifies wants an answer now, also while one of the scanners is away.
    const scan = await scans.report({ path: file.path, file: path, sizeBytes: file.sizeBytes, sourceStatus: null }, { isSetAside: true }, signal);
    return { ...rest, sha256, scan };
  } catch (error) {
    if (isMissingFile(error)) return { ...rest, damage: 'missing' };
    if (error instanceof MismatchFault) return { ...rest, damage: 'damaged' };
    throw error;
  }
}

/** Where the bytes lie that stand under a name of the model; null when there are none. */
export async function placeOf(folder: string, path: string): Promise<string | null> {
  try {
    const place = await realpath(safeJoin(folder, path));
    return (await lstat(place)).isFile() ? place : null;
  } catch (error) {
    if (isMissingFile(error)) return null;
    throw error;
  }
}
