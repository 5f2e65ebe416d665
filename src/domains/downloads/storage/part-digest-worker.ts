/** Worker thread: the SHA-256 of each part of a file. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

export type PartDigestJob = { path: string; partBytes: number; sizeBytes: number };
export type PartDigestOutcome = { digests: string[] } | { error: string; code: string | null };

const readBytes = 1024 * 1024;

/** Fewer parts than the size promises when the file ends early. */
function digests({ path, partBytes, sizeBytes }: PartDigestJob): string[] {
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  const buffer = Buffer.allocUnsafe(readBytes);
  const found: string[] = [];
  try {
    for (let start = 0; start < sizeBytes; start += partBytes) {
      const hash = createHash('sha256');
      const end = Math.min(start + partBytes, sizeBytes);
      for (let at = start; at < end; ) {
        const read = readSync(file, buffer, 0, Math.min(readBytes, end - at), at);
        if (read === 0) return found;
        hash.update(buffer.subarray(0, read));
        at += read;
      }
      found.push(hash.digest('hex'));
    }
    return found;
  } finally {
    closeSync(file);
  }
}

function outcome(job: PartDigestJob): PartDigestOutcome {
  try {
    return { digests: digests(job) };
  } catch (error) {
    const code = error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : null;
    return { error: error instanceof Error ? error.message : String(error), code };
  }
}

parentPort?.postMessage(outcome(workerData as PartDigestJob));
