/**
 * A durable queue of few, long jobs. At least once: a handler may run again after a crash, so it must be
 * idempotent. Implementation: pg-boss on the same database as the rest.
 */
export type JobHandler = (job: { id: string; subjectId: string; attempt: number }, signal: AbortSignal) => Promise<void>;

export type EnqueueOptions = { priority?: number; startAfterSeconds?: number; /** What jobs have in common that `perGroup` limits. */ group?: string };

export type JobQueue = {
  /**
   * Adds a job for `subjectId`; while one is waiting or active for the same subject, nothing is added. Never await
   * it inside an open transaction: where the database has one connection it would wait for itself.
   */
  enqueue(queue: string, subjectId: string, options?: EnqueueOptions): Promise<void>;
  /**
   * Takes waiting jobs of `subjectId` out and aborts an active one, wherever it runs: at once with `reason` itself in
   * this process, within about a second with a StopReason of the same cause in another.
   */
  cancel(queue: string, subjectId: string, reason: Error): Promise<void>;
  /**
   * Runs `handler` for up to `concurrency` jobs at once in this process until `stop()`. The signal aborts on
   * cancel and on shutdown, with a StopReason. A handler that throws makes the job retry. `perGroup`: at most so many
   * of one group at once in this process; the next job of another group goes first then.
   */
  work(queue: string, concurrency: number, handler: JobHandler, options?: { perGroup?: number | null }): Promise<void>;
  start(): Promise<void>;
  /** Rejects when the queue's store does not answer before the signal aborts. */
  ping(signal: AbortSignal): Promise<void>;
  /** Aborts active handlers with StopReason('shutdown') and waits for them under the signal; unfinished jobs run again later. */
  stop(signal: AbortSignal): Promise<void>;
};
