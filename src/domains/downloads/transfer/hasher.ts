import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { abortable } from '../../../shared/async.ts';
import type { ReadCount } from '../read-count.ts';
import { MismatchFault } from './faults.ts';
import type { HashInput, HashJob, HashOutcome } from './hash-worker.ts';

export type Expected = { sizeBytes: number; sha256: string | null; gitSha1: string | null };

/** A file up to this size is read again at its end; a thread for it would cost more than it saves. */
const inlineBytesMax = 8 * 1024 * 1024;
const readBytes = 1024 * 1024;
const countEveryMs = 500;

/** Follows a file while it is written and compares it with what the source promised. */
export type Hasher = {
  /** So many bytes from the start are in the file. */
  advance(prefixBytes: number): void;
  /**
   * All bytes are there: the SHA-256 of the file. Throws a MismatchFault when a promised digest is another.
   */
  finish(signal: AbortSignal): Promise<string>;
  close(): Promise<void>;
  /** So many bytes have been read so far. */
  readonly hashedBytes: number;
};

function inputsOf(expected: Expected): HashInput[] {
  const sha256: HashInput = { name: 'sha256', prefix: '' };
  // What git names a file by: a header, then its bytes.
  return expected.gitSha1 === null ? [sha256] : [sha256, { name: 'sha1', prefix: `blob ${expected.sizeBytes}\0` }];
}

function compare(digests: readonly (string | undefined)[], expected: Expected): string {
  const [sha256 = '', gitSha1] = digests;
  if (expected.sha256 !== null && sha256 !== expected.sha256) throw new MismatchFault(`SHA-256 is ${sha256}, promised was ${expected.sha256}`);
  if (expected.gitSha1 !== null && gitSha1 !== expected.gitSha1) throw new MismatchFault(`git id is ${gitSha1 ?? ''}, promised was ${expected.gitSha1}`);
  return sha256;
}

export function createHasher(path: string, expected: Expected): Hasher {
  return expected.sizeBytes <= inlineBytesMax ? new InlineHasher(path, expected) : new WorkerHasher(path, expected);
}

/** The SHA-256 of a finished file, compared with what was promised. */
export async function hashFile(path: string, { count, ...expected }: Expected & { count?: ReadCount }, signal: AbortSignal): Promise<string> {
  const hasher = createHasher(path, expected);
  let counted = 0;
  const tell = (): void => {
    const { hashedBytes } = hasher;
    count?.add(hashedBytes - counted);
    counted = hashedBytes;
  };
  const telling = count && setInterval(tell, countEveryMs);
  try {
    return await hasher.finish(signal);
  } finally {
    clearInterval(telling);
    tell();
    await hasher.close();
  }
}

class InlineHasher implements Hasher {
  hashedBytes = 0;
  readonly #path: string;
  readonly #expected: Expected;

  constructor(path: string, expected: Expected) {
    this.#path = path;
    this.#expected = expected;
  }

  advance(): void {}

  async finish(signal: AbortSignal): Promise<string> {
    const hashes = inputsOf(this.#expected).map(({ name, prefix }) => createHash(name).update(prefix));
    const buffer = Buffer.allocUnsafe(Math.max(1, Math.min(readBytes, this.#expected.sizeBytes)));
    const file = await open(this.#path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      for (let position = 0; position < this.#expected.sizeBytes; ) {
        signal.throwIfAborted();
        const wanted = Math.min(buffer.length, this.#expected.sizeBytes - position);
        const { bytesRead } = await file.read(buffer, 0, wanted, position);
        if (bytesRead === 0) throw new MismatchFault('the file is too short');
        for (const hash of hashes) hash.update(buffer.subarray(0, bytesRead));
        position += bytesRead;
        this.hashedBytes = position;
      }
    } finally {
      await file.close();
    }
    return compare(hashes.map((hash) => hash.digest('hex')), this.#expected);
  }

  async close(): Promise<void> {}
}

/**
 * In a thread, because hashing at line speed would take the main one whole; reading the file again from the page cache
 * costs less than handing it the bytes, and parallel ranges do not come in order anyway.
 */
class WorkerHasher implements Hasher {
  readonly #expected: Expected;
  readonly #state: BigInt64Array;
  readonly #worker: Worker;
  readonly #outcome: Promise<HashOutcome>;
  #isDone = false;

  constructor(path: string, expected: Expected) {
    const shared = new SharedArrayBuffer(4 * BigInt64Array.BYTES_PER_ELEMENT);
    this.#expected = expected;
    this.#state = new BigInt64Array(shared);
    const job: HashJob = { path, algorithms: inputsOf(expected), shared };
    this.#worker = new Worker(new URL('./hash-worker.ts', import.meta.url), { workerData: job });
    this.#outcome = this.#listen();
    // Asked for in `finish`; a transfer that fails first must not leave an unhandled rejection.
    this.#outcome.catch(() => undefined);
  }

  get hashedBytes(): number {
    return Number(Atomics.load(this.#state, 3));
  }

  advance(prefixBytes: number): void {
    Atomics.store(this.#state, 0, BigInt(prefixBytes));
    this.#wake();
  }

  async finish(signal: AbortSignal): Promise<string> {
    Atomics.store(this.#state, 0, BigInt(this.#expected.sizeBytes));
    Atomics.store(this.#state, 1, 1n);
    this.#wake();
    const outcome = await abortable(this.#outcome, signal);
    if ('error' in outcome) throw new MismatchFault(outcome.error);
    return compare(outcome.digests, this.#expected);
  }

  async close(): Promise<void> {
    // Done, it ends by itself; nobody has to wait for that.
    if (!this.#isDone) await this.#worker.terminate();
  }

  #wake(): void {
    Atomics.add(this.#state, 2, 1n);
    Atomics.notify(this.#state, 2);
  }

  #listen(): Promise<HashOutcome> {
    const { promise, resolve, reject } = Promise.withResolvers<HashOutcome>();
    this.#worker.once('message', (outcome: HashOutcome) => {
      this.#isDone = true;
      resolve(outcome);
    });
    this.#worker.once('error', reject);
    this.#worker.once('exit', () => reject(new Error('the hash thread ended early')));
    return promise;
  }
}
