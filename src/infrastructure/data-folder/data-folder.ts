import { chmod, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { acquireLockFile, LockHeldError } from './lock-file.ts';
import type { LockFile } from './lock-file.ts';
import { temporaryName } from './write-file-atomic.ts';

export type DataFolder = {
  readonly path: string;
  readonly logs: string;
  readonly adminKeyFile: string;
  readonly serverFile: string;
  readonly lockFile: string;
};

/** Another service works on the same data folder. */
export class DataFolderInUseError extends Error {
  override readonly name = 'DataFolderInUseError';
  readonly pid: number;

  constructor(path: string, pid: number) {
    super(`Another llm-manager (process ${pid}) already uses the data folder ${path}.`);
    this.pid = pid;
  }
}

/** The place for the data folder is not usable; the message says why and what to do. */
export class DataFolderUnusableError extends Error {
  override readonly name = 'DataFolderUnusableError';
}

const reasons: Readonly<Record<string, string>> = {
  EACCES: 'permission denied',
  EPERM: 'it belongs to another user',
  EEXIST: 'there is a file of that name',
  ENOTDIR: 'a part of its path is a file',
  ENOENT: 'it cannot be made there',
  EROFS: 'the file system is read-only',
  ENOSPC: 'no space is left on the disk',
  EDQUOT: 'the disk quota is used up',
};

export function dataFolderAt(path: string): DataFolder {
  return {
    path,
    logs: join(path, 'logs'),
    adminKeyFile: join(path, 'admin.key'),
    serverFile: join(path, 'server.json'),
    lockFile: join(path, 'service.lock'),
  };
}

/**
 * Makes the folder and its modes. As root it is searchable (not readable) for others, because the embedded
 * PostgreSQL refuses root and works in a folder of its own inside; everything else in it is private by itself.
 */
export async function prepareDataFolder(path: string): Promise<DataFolder> {
  const folder = dataFolderAt(path);
  try {
    await makeFolder(path, process.getuid?.() === 0 ? 0o711 : 0o700);
    await makePrivateFolder(folder.logs);
    return folder;
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    const reason = reasons[code];
    if (reason === undefined) throw error;
    throw new DataFolderUnusableError(`The data folder ${path} cannot be used: ${reason} (${code}). Choose another one with --data-dir or LLM_MANAGER_DATA_DIR.`, { cause: error });
  }
}

/** For what lies in the data folder, which others may search where the service runs as root. */
export async function makePrivateFolder(path: string): Promise<void> {
  await makeFolder(path, 0o700);
}

async function makeFolder(path: string, mode: number): Promise<void> {
  // The last step by itself: a recursive mkdir never returns where the file system says ENOENT to every name (/proc).
  await mkdir(dirname(path), { recursive: true, mode });
  await mkdir(path, { mode }).catch(async (error: unknown) => {
    const isThere = (error as NodeJS.ErrnoException).code === 'EEXIST' && (await stat(path)).isDirectory();
    if (!isThere) throw error;
  });
  await setMode(path, mode);
}

/** The umask narrows what mkdir was asked for, and an older folder may be wider than it should be. */
async function setMode(path: string, mode: number): Promise<void> {
  if (((await stat(path)).mode & 0o777) !== mode) await chmod(path, mode);
}

/** One service per data folder: throws DataFolderInUseError while another one lives. */
export async function lockDataFolder(folder: DataFolder): Promise<LockFile> {
  try {
    const lock = await acquireLockFile(folder.lockFile);
    await removeHalfWrittenFiles(folder);
    return lock;
  } catch (error) {
    if (error instanceof LockHeldError) throw new DataFolderInUseError(folder.path, error.pid);
    throw error;
  }
}

/** What a kill in the middle of an atomic write has left; nobody else writes here while we hold the lock. */
async function removeHalfWrittenFiles(folder: DataFolder): Promise<void> {
  for (const name of await readdir(folder.path)) {
    if (temporaryName.test(name)) await rm(join(folder.path, name), { force: true });
  }
}
