import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { sleep } from '../../shared/async.ts';
import { identifyProcess } from '../../platform/process-identity.ts';

/** What a running server writes into its data directory. */
export type PostmasterFile = { pid: number; port: number; ready: boolean };

const pollMs = 10;
/** After a fast shutdown's deadline the server gets this long to end without one. */
const immediateShutdownMs = 3_000;

/** Reads `postmaster.pid`; null when there is none, or it is still being written. */
export async function readPostmasterFile(cluster: string): Promise<PostmasterFile | null> {
  const text = await readFile(join(cluster, 'postmaster.pid'), 'utf8').catch(() => '');
  const lines = text.split('\n');
  const pid = Number(lines[0]);
  const port = Number(lines[3]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return null;
  return { pid, port: Number.isSafeInteger(port) ? port : 0, ready: lines[7]?.trim() === 'ready' };
}

/** True when `pid` lives and is a server on `cluster`: a pid may long belong to some other program. */
export async function isPostmasterOf(pid: number, cluster: string): Promise<boolean> {
  if (!(await identifyProcess(pid))) return false;
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null);
  // Without /proc the file's own word must do: it lies in a folder that only we can write.
  return commandLine === null || commandLine.split('\0').includes(cluster);
}

/**
 * Ends the server: a fast shutdown (open transactions are rolled back), an immediate one when `signal` aborts first.
 * Returns when the process is gone.
 */
export async function stopPostmaster(pid: number, signal: AbortSignal): Promise<void> {
  // The first signal must be sent even when the deadline has passed already.
  if (!send(pid, 'SIGINT')) return;
  if (await waitForEnd(pid, signal)) return;
  if (!send(pid, 'SIGQUIT')) return;
  if (await waitForEnd(pid, AbortSignal.timeout(immediateShutdownMs))) return;
  send(pid, 'SIGKILL');
  await waitForEnd(pid, AbortSignal.timeout(immediateShutdownMs));
}

function send(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}

async function waitForEnd(pid: number, signal: AbortSignal): Promise<boolean> {
  while (await identifyProcess(pid)) {
    if (signal.aborted) return false;
    await sleep(pollMs);
  }
  return true;
}
