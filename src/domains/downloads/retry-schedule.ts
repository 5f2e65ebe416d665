import type { Clock } from '../../shared/clock.ts';

export type RetryScheduleOptions = {
  clock: Clock;
  /** The task's time has come. */
  onDue: (taskId: string) => Promise<void>;
  /** Finds what no timer knows of: rows of a process that died, and jobs that were lost. */
  sweep: () => Promise<void>;
  onError: (error: unknown) => void;
};

/** Long enough to cost nothing; what it finds is rare. */
const sweepEveryMs = 30_000;
const timersMax = 10_000;

/** Brings waiting tasks back at their time, so that none of them holds a worker meanwhile. */
export class RetrySchedule {
  readonly #options: RetryScheduleOptions;
  readonly #timers = new Map<string, NodeJS.Timeout>();
  #sweeper: NodeJS.Timeout | null = null;
  #working: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(options: RetryScheduleOptions) {
    this.#options = options;
  }

  start(): void {
    this.#sweeper = setInterval(() => this.#do(() => this.#options.sweep()), sweepEveryMs).unref();
  }

  at(taskId: string, at: Date): void {
    this.forget(taskId);
    // Beyond that the sweep finds them, some seconds late.
    if (this.#isStopped || this.#timers.size >= timersMax) return;
    const waitMs = Math.max(0, at.getTime() - this.#options.clock.now().getTime());
    const due = (): void => {
      this.#timers.delete(taskId);
      this.#do(() => this.#options.onDue(taskId));
    };
    this.#timers.set(taskId, setTimeout(due, waitMs).unref());
  }

  forget(taskId: string): void {
    clearTimeout(this.#timers.get(taskId));
    this.#timers.delete(taskId);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#sweeper) clearInterval(this.#sweeper);
    for (const taskId of [...this.#timers.keys()]) this.forget(taskId);
    await this.#working;
  }

  #do(work: () => Promise<void>): void {
    if (this.#isStopped) return;
    this.#working = this.#working.then(work).catch((error: unknown) => this.#options.onError(error));
  }
}
