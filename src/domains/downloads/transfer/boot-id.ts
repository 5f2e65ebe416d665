import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';

const run = promisify(execFile);

/**
 * Names the present run of the operating system, or null where it cannot be told. While it stays the same, what was
 * written but not synced is still in the page cache, also after a kill.
 */
export async function readBootId(): Promise<string | null> {
  try {
    if (process.platform === 'linux') return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim() || null;
    if (process.platform === 'darwin') return (await run('/usr/sbin/sysctl', ['-n', 'kern.bootsessionuuid'])).stdout.trim() || null;
    return null;
  } catch {
    // Without it only synced bytes count after a restart: slower, never wrong.
    return null;
  }
}
