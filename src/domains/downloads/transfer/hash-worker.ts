/** Worker thread: hashes a growing file up to the length that the main thread says is there without a gap. */
import { createHash } from 'node:crypto';
import { closeSync, constants, openSync, readSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';

export type HashJob = {
  path: string;
  algorithms: readonly HashInput[];
  /** [0] bytes that are there, [1] 1 = there will be no more, [2] counts changes: what the thread waits on, [3] bytes that were read. */
  shared: SharedArrayBuffer;
};

export type HashInput = { name: 'sha256' | 'sha1'; prefix: string };
export type HashOutcome = { digests: string[] } | { error: string };

const readBytes = 1024 * 1024;

function digest({ path, algorithms, shared }: HashJob): string[] {
  const state = new BigInt64Array(shared);
  const hashes = algorithms.map(({ name, prefix }) => createHash(name).update(prefix));
  const buffer = Buffer.allocUnsafe(readBytes);
  const file = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    let position = 0;
    for (;;) {
      // In this order: a change after the first look ends the wait below, and the last length is set before the end is.
      const changes = Atomics.load(state, 2);
      const isLast = Atomics.load(state, 1) === 1n;
      const available = Atomics.load(state, 0);
      while (position < available) {
        const read = readSync(file, buffer, 0, Math.min(readBytes, Number(available) - position), position);
        if (read === 0) throw new Error('the file became shorter');
        for (const hash of hashes) hash.update(buffer.subarray(0, read));
        position += read;
        Atomics.store(state, 3, BigInt(position));
      }
      if (isLast) return hashes.map((hash) => hash.digest('hex'));
      Atomics.wait(state, 2, changes);
    }
  } finally {
    closeSync(file);
  }
}

function outcome(job: HashJob): HashOutcome {
  try {
    return { digests: digest(job) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}

parentPort?.postMessage(outcome(workerData as HashJob));
