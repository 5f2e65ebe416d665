import { Worker } from 'node:worker_threads';
import type { ScanFinding } from '../file-scanner.ts';
import { block } from './refusal.ts';
import type { ScanJob, ScanOutcome } from './scan-worker.ts';

export type ScanLimits = { memoryMiB: number; timeMs: number; idleMs: number };

export const defaultScanLimits: ScanLimits = { memoryMiB: 384, timeMs: 120_000, idleMs: 30_000 };

/**
 * One thread that looks at one file at a time, within limits of memory and time. A file that breaks them, or the
 * thread, is refused, and the next one gets a new thread. Made when it is needed, ended when it was idle for a while.
 */
export class ScanThread {
  readonly #limits: ScanLimits;
  #worker: Worker | null = null;
  #onOutcome: ((outcome: ScanOutcome | 'limits') => void) | null = null;
  #idle: NodeJS.Timeout | null = null;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(limits: ScanLimits = defaultScanLimits) {
    this.#limits = limits;
  }

  /** Throws ENOENT and its like as the file system has them. */
  async scan(job: ScanJob, signal: AbortSignal): Promise<readonly ScanFinding[]> {
    const before = this.#turn;
    const { promise, resolve } = Promise.withResolvers<undefined>();
    this.#turn = before.then(() => promise);
    try {
      await before;
      signal.throwIfAborted();
      return await this.#run(job, signal);
    } finally {
      this.#rest();
      resolve(undefined);
    }
  }

  async close(): Promise<void> {
    if (this.#idle) clearTimeout(this.#idle);
    const worker = this.#worker;
    this.#worker = null;
    await worker?.terminate();
  }

  async #run(job: ScanJob, signal: AbortSignal): Promise<readonly ScanFinding[]> {
    if (this.#idle) clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const { promise, resolve, reject } = Promise.withResolvers<ScanOutcome | 'limits'>();
    const timer = setTimeout(() => resolve('limits'), this.#limits.timeMs);
    const onAbort = (): void => reject(signal.reason as Error);
    worker.ref();
    this.#onOutcome = resolve;
    signal.addEventListener('abort', onAbort, { once: true });
    worker.postMessage(job);
    try {
      const outcome = await promise;
      if (outcome !== 'limits') return findingsOf(outcome);
      await this.close();
      return [block('scan.limits', `${job.path} could not be looked at within the limits of memory and time.`)];
    } catch (error) {
      if (signal.aborted) await this.close();
      throw error;
    } finally {
      clearTimeout(timer);
      signal.removeEventListener('abort', onAbort);
      this.#onOutcome = null;
      worker.unref();
    }
  }

  #start(): Worker {
    const worker = new Worker(new URL('./scan-worker.ts', import.meta.url), { resourceLimits: { maxOldGenerationSizeMb: this.#limits.memoryMiB, maxYoungGenerationSizeMb: 32 }, env: {} });
    const tell = (outcome: ScanOutcome | 'limits'): void => {
      if (this.#worker === worker) this.#onOutcome?.(outcome);
    };
    worker.on('message', tell);
    // One that fails while nobody asks must not end the process.
    worker.on('error', () => tell('limits'));
    worker.on('exit', () => tell('limits'));
    worker.unref();
    return worker;
  }

  #rest(): void {
    if (this.#idle) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => void this.close(), this.#limits.idleMs).unref();
  }
}

function findingsOf(outcome: ScanOutcome): readonly ScanFinding[] {
  if ('findings' in outcome) return outcome.findings;
  throw Object.assign(new Error(`a file could not be scanned: ${outcome.error}`), outcome.code === null ? {} : { code: outcome.code });
}
