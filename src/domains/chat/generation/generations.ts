import type { StopCause } from '../../../shared/abort.ts';
import { abortable } from '../../../shared/async.ts';
import { AppError } from '../../../shared/errors.ts';
import type { AnswerJob } from './ask-engine.ts';
import { Generation, type GenerationDeps } from './generation.ts';

/** An answer that is being made; ids are null for one that is not kept. */
export type RunningAnswer = {
  readonly messageId: string | null;
  readonly sessionId: string | null;
  readonly deploymentId: string;
  readonly owner: string;
  /** Resolves when nothing of it is left to do; never rejects. */
  readonly ended: Promise<void>;
  abort(why: StopCause): void;
};

/** Places that were taken before anything was stored; each is either used for a job or given back. */
export type Reservation = {
  start(job: AnswerJob): void;
  /** Counts an answer that somebody else makes among the running ones until it has ended. */
  adopt(answer: RunningAnswer): void;
  /** Gives back what was not used. */
  release(): void;
};

const retryAfterSeconds = 5;
/** For storing the ends after the drain time; each is one short transaction. */
const settleMs = 10_000;

/** The answers that this process is making. Bounded: a place is taken before a message is stored. */
export class Generations {
  readonly #deps: GenerationDeps;
  readonly #running = new Set<RunningAnswer>();
  #reserved = 0;
  #isClosing = false;

  constructor(deps: GenerationDeps) {
    this.#deps = deps;
  }

  /** Throws OVERLOADED when there is no room for `count` answers, SHUTTING_DOWN while the service ends. */
  reserve(count: number): Reservation {
    if (this.#isClosing) throw new AppError('SHUTTING_DOWN', 'The service is being stopped.', { retryAfterSeconds });
    const { generationsMax } = this.#deps.limits;
    if (this.#running.size + this.#reserved + count > generationsMax) {
      throw new AppError('OVERLOADED', `${generationsMax} answers are being made already; try again later.`, { retryAfterSeconds });
    }
    let left = count;
    this.#reserved += count;
    const give = (places: number): void => {
      this.#reserved -= places;
      left -= places;
    };
    const take = (make: () => RunningAnswer): void => {
      if (left < 1) throw new AppError('INTERNAL', 'An answer was started without a place.');
      give(1);
      this.#run(make());
    };
    return {
      start: (job) => take(() => new Generation(job, this.#deps)),
      adopt: (answer) => take(() => answer),
      release: () => give(left),
    };
  }

  find(messageId: string): RunningAnswer | undefined {
    // One that is kept on its way through the gateway has its message a moment later than its place: no table by messages.
    return this.#running.values().find((answer) => answer.messageId === messageId);
  }

  /** Ends those of a session and waits for their ends to be stored. */
  async endSession(sessionId: string, signal: AbortSignal): Promise<void> {
    const ofSession = [...this.#running].filter((answer) => answer.sessionId === sessionId);
    for (const generation of ofSession) generation.abort('cancelled');
    await abortable(Promise.all(ofSession.map(({ ended }) => ended)), signal);
  }

  /** No new ones; running ones may end until the signal aborts, then they are interrupted with the text they have. */
  async close(drain: AbortSignal): Promise<void> {
    this.#isClosing = true;
    try {
      await abortable(this.#allEnded(), drain);
    } catch {
      // The drain time is over: the normal way to end a long answer.
      this.#abortAll('shutdown');
      await abortable(this.#allEnded(), AbortSignal.timeout(settleMs)).catch((error: unknown) => {
        this.#deps.logger.error({ err: error, answers: this.#running.size }, 'some answers could not be ended; the next start marks them interrupted');
      });
    }
  }

  #abortAll(why: StopCause): void {
    for (const generation of this.#running) generation.abort(why);
  }

  #run(answer: RunningAnswer): void {
    this.#running.add(answer);
    void answer.ended.finally(() => this.#running.delete(answer));
    if (this.#isClosing) answer.abort('shutdown');
  }

  async #allEnded(): Promise<void> {
    while (this.#running.size > 0 || this.#reserved > 0) {
      await Promise.all([...this.#running].map(({ ended }) => ended));
      // A turn that is being stored right now starts its answers a moment later.
      if (this.#running.size === 0 && this.#reserved > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
