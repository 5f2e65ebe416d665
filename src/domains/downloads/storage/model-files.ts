import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink, realpath, rename, rm, rmdir, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { isMissingFile } from '../transfer/faults.ts';
import { removePartFiles } from '../transfer/sidecar.ts';
import type { BlobPlace, ModelLayout } from './model-layout.ts';
import { safeJoin } from './safe-path.ts';
import { makeFolder } from '../../../platform/make-folder.ts';
import { syncFolder } from '../../../platform/sync-folder.ts';
import { systemErrorCode } from '../../../shared/system-error.ts';

/** The blob's size, or null when it is not there or is no plain file. */
export async function blobSize(path: string): Promise<number | null> {
  const found = await orNull(lstat(path));
  return found?.isFile() === true ? found.size : null;
}

/** Bytes that the partial file holds on the disk already, reserved ones included. */
export async function allocatedBytes(place: BlobPlace, sizeBytes: number): Promise<number> {
  if ((await blobSize(place.blobPath)) === sizeBytes) return sizeBytes;
  const part = await orNull(lstat(place.partPath));
  // Blocks of 512 bytes, whatever the file system's own are.
  return part?.isFile() === true ? Math.min(sizeBytes, part.blocks * 512) : 0;
}

/** Gives the verified partial file its final name; whatever had it is replaced in the same step. */
export async function publishBlob({ partPath, blobPath }: BlobPlace): Promise<void> {
  await rename(partPath, blobPath);
  await syncFolder(dirname(blobPath));
  await removePartFiles(partPath);
}

/** Puts the file's own name into the model's folder, as a link to the blob. */
export async function linkFile(layout: ModelLayout, path: string, blobPath: string): Promise<void> {
  const name = safeJoin(layout.folder, path);
  await makeFolder(dirname(name));
  // A link in the way could lead the name out of the models folder.
  const [parent, folder] = await Promise.all([realpath(dirname(name)), realpath(layout.folder)]);
  if (parent !== folder && !parent.startsWith(`${folder}/`)) throw new Error(`a folder of ${layout.folder} is a link to elsewhere`);
  const target = relative(parent, join(await realpath(dirname(blobPath)), blobPath.slice(dirname(blobPath).length + 1)));
  if ((await orNull(readlink(name))) === target) return;
  // The same name each time: what a kill leaves is used by the next try instead of lying about for ever.
  const temporary = join(parent, `.${createHash('sha256').update(`${name}\0${target}`).digest('hex').slice(0, 16)}.tmp`);
  await symlink(target, temporary).catch((error: unknown) => {
    if (!isThere(error)) throw error;
  });
  try {
    await rename(temporary, name);
  } catch (error) {
    // Another task did the same at this moment.
    if ((await orNull(readlink(name))) === target) return;
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Notes which commit a branch or tag stood for, as the tools that share the cache expect it. */
export async function writeRef(layout: ModelLayout, requestedRevision: string | null, revision: string): Promise<void> {
  const path = layout.refPath(requestedRevision);
  if (path === null || (await orNull(readFile(path, 'utf8'))) === revision) return;
  await makeFolder(dirname(path));
  const temporary = `${path}.${createHash('sha256').update(revision).digest('hex').slice(0, 16)}.tmp`;
  await writeFile(temporary, revision);
  try {
    await rename(temporary, path);
  } catch (error) {
    if ((await orNull(readFile(path, 'utf8'))) !== revision) throw error;
  }
}

/** True when every file is there with its size. What is in them was compared when they came. */
export async function areFilesThere(folder: string, files: readonly { path: string; sizeBytes: number }[]): Promise<boolean> {
  for (const { path, sizeBytes } of files) {
    const found = await orNull(stat(safeJoin(folder, path)));
    if (found?.isFile() !== true || found.size !== sizeBytes) return false;
  }
  return true;
}

export type Removal = {
  folder: string;
  paths: readonly string[];
  /** Folders above `folder` that go when nothing is left in them, up to and without this one. */
  root: string;
  /** True for a blob that something else still needs. */
  isNeeded: (blobPath: string) => Promise<boolean>;
};

/** Removes the names and every blob that no other name needs. What others put into the folders stays. */
export async function removeFiles({ folder, paths, root, isNeeded }: Removal): Promise<void> {
  const blobs = new Set<string>();
  for (const path of paths) {
    const name = safeJoin(folder, path);
    const target = await orNull(readlink(name));
    if (target !== null) blobs.add(resolve(dirname(name), target));
    await rm(name, { force: true });
    await removeEmptyFolders(dirname(name), root);
  }
  for (const blob of blobs) {
    if (blob.startsWith(`${resolve(root)}/`) && !(await isNeeded(blob))) await rm(blob, { force: true });
    await removeEmptyFolders(dirname(blob), root);
  }
}

/** Names of a revision that is not there any more would make other tools call the cache damaged. */
export async function removeRefs(refsFolder: string, revision: string, root: string): Promise<void> {
  const entries = (await orNull(readdir(refsFolder, { recursive: true, withFileTypes: true }))) ?? [];
  for (const entry of entries.slice(0, linksMax)) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || (await orNull(readFile(path, 'utf8')))?.trim() !== revision) continue;
    await rm(path, { force: true });
    await removeEmptyFolders(dirname(path), root);
  }
}

const linksMax = 100_000;

/** Every blob that a link below `folder` leads to. */
export async function linkedBlobs(folder: string): Promise<Set<string>> {
  const targets = new Set<string>();
  const entries = (await orNull(readdir(folder, { recursive: true, withFileTypes: true }))) ?? [];
  for (const entry of entries.slice(0, linksMax)) {
    if (!entry.isSymbolicLink()) continue;
    const name = join(entry.parentPath, entry.name);
    const target = await orNull(readlink(name));
    if (target !== null) targets.add(resolve(dirname(name), target));
  }
  return targets;
}

async function removeEmptyFolders(folder: string, root: string): Promise<void> {
  let current = resolve(folder);
  while (current !== resolve(root) && current.startsWith(`${resolve(root)}/`)) {
    try {
      await rmdir(current);
    } catch {
      // Not empty, gone already, or not ours: it stays.
      return;
    }
    current = dirname(current);
  }
}

async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (isMissingFile(error) || isNotALink(error)) return null;
    throw error;
  }
}

function isThere(error: unknown): boolean {
  return systemErrorCode(error) === 'EEXIST';
}

function isNotALink(error: unknown): boolean {
  return ['EINVAL', 'ENOTDIR'].includes(systemErrorCode(error) ?? '');
}
