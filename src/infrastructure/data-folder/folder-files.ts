import { readFile, rm } from 'node:fs/promises';
import { z } from 'zod';
import type { DataFolder } from './data-folder.ts';
import { readLockHolder } from './lock-file.ts';
import { writeFileAtomic } from './write-file-atomic.ts';

const serverSchema = z.object({
  pid: z.int().positive(),
  /** Where the service is reached from this machine. */
  url: z.url(),
  version: z.string(),
  /** ISO 8601 UTC. */
  started_at: z.string(),
});

/** What `server.json` tells commands on the same machine about the running service. */
export type ServerInfo = z.infer<typeof serverSchema>;

/** Written when the service is ready: whoever reads it may connect at once. */
export async function writeServerFile(folder: DataFolder, info: ServerInfo): Promise<void> {
  await writeFileAtomic(folder.serverFile, `${JSON.stringify(info, null, 2)}\n`);
}

/** Removes the file of process `pid`; one that a later service has written stays. */
export async function removeServerFile(folder: DataFolder, pid: number): Promise<void> {
  const info = await readServerFile(folder);
  if (info?.pid === pid) await rm(folder.serverFile, { force: true });
}

/** The running service, or null. A file that a crash has left behind counts for nothing: its process holds no lock. */
export async function findRunningServer(folder: DataFolder): Promise<ServerInfo | null> {
  const [info, holder] = await Promise.all([readServerFile(folder), readLockHolder(folder.lockFile)]);
  return info !== null && holder?.pid === info.pid ? info : null;
}

async function readServerFile(folder: DataFolder): Promise<ServerInfo | null> {
  const text = await readFile(folder.serverFile, 'utf8').catch(() => null);
  if (text === null) return null;
  try {
    return serverSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** The key that commands on the same machine use; readable by the service's own user alone. */
export async function writeAdminKey(folder: DataFolder, key: string): Promise<void> {
  await writeFileAtomic(folder.adminKeyFile, `${key}\n`, { mode: 0o600 });
}

/** Null when there is none; a file that cannot be read (another user's) rejects. */
export async function readAdminKey(folder: DataFolder): Promise<string | null> {
  try {
    const key = (await readFile(folder.adminKeyFile, 'utf8')).trim();
    return key === '' ? null : key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
