import { Worker } from 'node:worker_threads';
import { abortable } from '../../../shared/async.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { PartDigestRepository } from '../part-digest.repository.ts';
import type { PartDigestJob, PartDigestOutcome } from './part-digest-worker.ts';

/** What is fetched again when one bit of it is wrong. */
export const digestPartBytes = 16 * 1024 * 1024;

export type DigestedFile = { /** Absolute, no link. */ path: string; sha256: string; sizeBytes: number };

/** The SHA-256 of each part of a file, in a thread. Ends with the signal's reason when it aborts. */
export async function digestParts(path: string, sizeBytes: number, signal: AbortSignal): Promise<string[]> {
  const job: PartDigestJob = { path, sizeBytes, partBytes: digestPartBytes };
  const worker = new Worker(new URL('./part-digest-worker.ts', import.meta.url), { workerData: job });
  const { promise, resolve, reject } = Promise.withResolvers<PartDigestOutcome>();
  worker.once('message', resolve).once('error', reject).once('exit', () => reject(new Error('the digest thread ended early')));
  try {
    const outcome = await abortable(promise, signal);
    if ('digests' in outcome) return outcome.digests;
    throw Object.assign(new Error(outcome.error), outcome.code === null ? {} : { code: outcome.code });
  } finally {
    await worker.terminate();
  }
}

/**
 * Digests of our own beside the one of the whole file, which is all that a source promises: with them a damaged file is
 * repaired by fetching the parts that are wrong. Made once a file is in its place, one file after the other, apart from
 * the download: hashing everything twice while it comes would slow that down.
 */
export class PartDigests {
  readonly #repository: PartDigestRepository;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #last: Promise<void> = Promise.resolve();

  constructor(repository: PartDigestRepository, logger: Logger) {
    this.#repository = repository;
    this.#logger = logger;
  }

  /** Returns at once. Files of a single part need no digest of it. */
  remember(files: readonly DigestedFile[]): void {
    for (const file of files) {
      if (file.sizeBytes > digestPartBytes) this.#last = this.#last.then(() => this.#remember(file));
    }
  }

  /** Returns at once. For files that no installed model has any more; in turn, so that none of them comes back. */
  forget(sha256s: readonly string[]): void {
    this.#last = this.#last.then(() => this.#forget(() => Promise.resolve(sha256s)));
  }

  /** Forgets what a killed process had no time to. `installed`: the files of all installed models. */
  forgetAllBut(installed: () => Promise<ReadonlySet<string>>): void {
    this.#last = this.#last.then(() =>
      this.#forget(async () => {
        // Read first: its model was entered before a digest was.
        const known = await this.#repository.all();
        const needed = await installed();
        return known.filter((sha256) => !needed.has(sha256));
      }),
    );
  }

  /** Resolves when all that was asked for so far is stored. */
  async settled(): Promise<void> {
    await this.#last;
  }

  /** Null when there are none, or none that fit. */
  async find(sha256: string, sizeBytes: number): Promise<readonly string[] | null> {
    const found = await this.#repository.find(sha256);
    const isWhole = found?.partBytes === digestPartBytes && found.digests.length === Math.ceil(sizeBytes / digestPartBytes);
    return isWhole ? found.digests : null;
  }

  async close(): Promise<void> {
    this.#stopping.abort(new Error('the service ends'));
    await this.#last;
  }

  async #forget(sha256s: () => Promise<readonly string[]>): Promise<void> {
    try {
      await this.#repository.remove(await sha256s());
    } catch (error) {
      this.#logger.warn({ error }, 'digests of parts of files that are gone could not be removed; the next start tries again');
    }
  }

  async #remember({ path, sha256, sizeBytes }: DigestedFile): Promise<void> {
    const { signal } = this.#stopping;
    try {
      if (signal.aborted || (await this.find(sha256, sizeBytes)) !== null) return;
      await this.#repository.save(sha256, digestPartBytes, await digestParts(path, sizeBytes, signal));
    } catch (error) {
      if (!signal.aborted) this.#logger.warn({ path, error }, 'the parts of a file could not be hashed; if it is damaged later, all of it is fetched again');
    }
  }
}
