import { execFile } from 'node:child_process';
import { statfs } from 'node:fs/promises';
import { promisify } from 'node:util';
import { insufficientStorage } from './faults.ts';

const run = promisify(execFile);
const timeoutMs = 10_000;
/** Memory as a disk: to reserve a page there is to clear it, which takes as long as to write it. */
const tmpfsType = 0x01021994;
/** A smaller file is written sooner than a process is started to reserve room for it. */
const reservedBytesMin = 8 * 1024 * 1024;

/**
 * Reserves real blocks for the whole file, so that a full disk shows before the first byte and not after the last:
 * Node has no such call and a truncate reserves nothing. Where the `fallocate` command is missing, the file system
 * cannot do it or would have to write for it, and for small files, nothing happens, and the accounting of free space has to do. Throws INSUFFICIENT_STORAGE.
 */
export async function preallocate(path: string, sizeBytes: number): Promise<void> {
  if (process.platform !== 'linux' || sizeBytes < reservedBytesMin || (await statfs(path)).type === tmpfsType) return;
  try {
    await run('fallocate', ['--length', String(sizeBytes), path], { timeout: timeoutMs, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' } });
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr) : '';
    if (/No space left|quota exceeded/i.test(said)) throw insufficientStorage(sizeBytes, 0, error);
  }
}
