import { lstat, readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { AppError } from '../../shared/errors.ts';
import { isSafePath } from './storage/safe-path.ts';

export type LocalFile = { /** In the model. */ path: string; /** Absolute. */ file: string; sizeBytes: number };

const filesMax = 2_000;
const depthMax = 8;

function unsafe(message: string): AppError {
  return new AppError('UNSAFE_FILE', message);
}

/**
 * The files at a path of this machine: that file, or all in that folder, but for what begins with a dot. Throws
 * UNSAFE_FILE for links, pipes, devices and hostile names, and FILE_NOT_FOUND.
 */
export async function listLocalFiles(path: string): Promise<LocalFile[]> {
  const status = await lstat(path).catch(() => null);
  if (!status) throw new AppError('FILE_NOT_FOUND', 'There is no such file or folder on the machine that the service runs on.');
  if (status.isFile()) return [checked({ path: basename(path), file: path, sizeBytes: status.size })];
  if (!status.isDirectory()) throw unsafe('What is imported must be a file or a folder, not a link or a device.');
  return await listFolder(path, '', 0);
}

async function listFolder(folder: string, prefix: string, depth: number): Promise<LocalFile[]> {
  if (depth > depthMax) throw unsafe('The folder has folders in it that go too deep.');
  const found: LocalFile[] = [];
  for (const name of (await readdir(folder)).sort()) {
    if (name.startsWith('.')) continue;
    const file = join(folder, name);
    const status = await lstat(file);
    if (status.isDirectory()) found.push(...(await listFolder(file, `${prefix}${name}/`, depth + 1)));
    else if (status.isFile()) found.push(checked({ path: `${prefix}${name}`, file, sizeBytes: status.size }));
    else throw unsafe(`${JSON.stringify(`${prefix}${name}`).slice(0, 100)} is a link or a device; only files are imported.`);
    if (found.length > filesMax) throw new AppError('UNSUPPORTED_MODEL', `The folder has more than ${filesMax} files.`);
  }
  return found;
}

function checked(file: LocalFile): LocalFile {
  if (!isSafePath(file.path)) throw unsafe(`The name ${JSON.stringify(file.path).slice(0, 100)} cannot be taken over.`);
  return file;
}
