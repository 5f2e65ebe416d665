import { randomUUID } from 'node:crypto';
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncFolder } from '../../platform/sync-folder.ts';

/** Names of the files that `writeFileAtomic` writes before it renames them. */
export const temporaryName = /\.\d+-[0-9a-f-]{36}\.tmp$/;

/**
 * Writes `text` so that a reader, also after a crash or a power cut, finds the old file or the new one and never a
 * part. The temporary file lies beside it (a rename does not cross file systems).
 */
export async function writeFileAtomic(path: string, text: string | Uint8Array, options: { mode?: number } = {}): Promise<void> {
  const temporary = `${path}.${process.pid}-${randomUUID()}.tmp`;
  try {
    const file = await open(temporary, 'wx', options.mode ?? 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncFolder(dirname(path));
}
