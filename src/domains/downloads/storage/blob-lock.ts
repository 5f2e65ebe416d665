import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname } from 'node:path';
import { makeFolder } from '../../../platform/make-folder.ts';
import { AppError } from '../../../shared/errors.ts';
import { toStorageError } from '../transfer/faults.ts';

/** Holds its lock until its standard input ends, which it does also when this process is killed. */
const holdScript = 'echo held; exec cat >/dev/null';

/** Longer than this nobody waits with a worker in hand: others fetch for hours, and some that hold a lock have long been hanging. */
const waitMsDefault = 30_000;

/**
 * Takes the lock that Hugging Face's own tools take (flock) while they fetch a blob into the shared cache, and resolves
 * with the function that gives it back. Node has no such call, so the `flock` command holds it. Where there is none
 * nothing is locked: both sides then fetch the same bytes under names of their own, and the last rename wins. Throws
 * OVERLOADED while another tool holds it, and INTERNAL or INSUFFICIENT_STORAGE where no lock can be put.
 */
export async function lockBlob({ lockPath, waitMs = waitMsDefault }: { lockPath: string | null; waitMs?: number }, signal: AbortSignal): Promise<() => Promise<void>> {
  signal.throwIfAborted();
  const unlocked = (): Promise<void> => Promise.resolve();
  if (lockPath === null) return unlocked;
  try {
    await makeFolder(dirname(lockPath));
  } catch (error) {
    throw toStorageError(error, 0);
  }
  signal.throwIfAborted();
  const env = { PATH: '/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin', LC_ALL: 'C' };
  const holder = spawn('flock', ['--exclusive', lockPath, 'sh', '-c', holdScript], { stdio: ['pipe', 'pipe', 'ignore'], env });
  const ended = new Promise<'ended'>((resolve) => {
    holder.once('error', () => resolve('ended'));
    holder.once('exit', () => resolve('ended'));
  });
  holder.stdin.on('error', () => undefined);
  const release = async (): Promise<void> => {
    holder.stdin.destroy();
    await ended;
  };
  const onAbort = (): void => void holder.kill('SIGTERM');
  signal.addEventListener('abort', onAbort, { once: true });
  const late = AbortSignal.timeout(waitMs);
  late.addEventListener('abort', onAbort, { once: true });
  try {
    const held = once(holder.stdout, 'data').then(() => 'held' as const, () => 'ended' as const);
    const outcome = await Promise.race([held, ended]);
    signal.throwIfAborted();
    if (outcome === 'ended' && late.aborted) throw new AppError('OVERLOADED', 'Another program is fetching the same file into the shared Hugging Face cache; this download goes on once that has ended.');
    return outcome === 'held' ? release : unlocked;
  } catch (error) {
    await release();
    throw error;
  } finally {
    late.removeEventListener('abort', onAbort);
    signal.removeEventListener('abort', onAbort);
  }
}
