import { StopReason } from '../shared/abort.ts';

/**
 * Ctrl-C in the order that people expect: first what is being said is stopped, then the program, and a further one
 * ends it at once.
 */
export class Interrupts {
  readonly #ending = new AbortController();
  readonly #giveUp: () => void;
  #stopFirst: (() => void) | null = null;
  #hasStopped = false;
  #lastAt = -Infinity;

  /** `giveUp` ends the process at once. */
  constructor(giveUp: () => void) {
    this.#giveUp = giveUp;
  }

  /** Aborts when the program is to end. */
  get signal(): AbortSignal {
    return this.#ending.signal;
  }

  /** Whether something was stopped on request, although the program went on. */
  get hasStopped(): boolean {
    return this.#hasStopped;
  }

  /** Until the returned function is called, the first interrupt calls `stop` instead of ending the program. */
  stopFirst(stop: () => void): () => void {
    this.#stopFirst = stop;
    return () => {
      if (this.#stopFirst === stop) this.#stopFirst = null;
    };
  }

  /** npm and the launcher pass a terminal's Ctrl-C on although the terminal sent it to the whole group already. */
  raise(echoMs = 100): void {
    const now = performance.now();
    const isEcho = now - this.#lastAt < echoMs;
    this.#lastAt = now;
    if (isEcho) return;
    const stop = this.#stopFirst;
    this.#stopFirst = null;
    if (this.#ending.signal.aborted) this.#giveUp();
    else if (stop) {
      this.#hasStopped = true;
      stop();
    } else this.end();
  }

  end(): void {
    this.#stopFirst = null;
    this.#ending.abort(new StopReason('cancelled'));
  }

  /** Listens to the process's signals; returns a function that lets go of them. */
  listen(): () => void {
    const raise = (): void => this.raise();
    const end = (): void => {
      if (this.#ending.signal.aborted) this.#giveUp();
      else this.end();
    };
    process.on('SIGINT', raise).on('SIGTERM', end).on('SIGHUP', end);
    return () => void process.off('SIGINT', raise).off('SIGTERM', end).off('SIGHUP', end);
  }
}
