import { AppError } from '../../../shared/errors.ts';

/** Aborts with TIMEOUT when nobody has fed it for the time given last. */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #message: string;
  #timer: NodeJS.Timeout | undefined;
  #forMs = 0;

  constructor(message: string) {
    this.#message = message;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  feed(forMs: number): void {
    if (this.#timer && forMs === this.#forMs) {
      // Fed once a token: starting again costs far less than a new timer.
      this.#timer.refresh();
      return;
    }
    clearTimeout(this.#timer);
    this.#forMs = forMs;
    this.#timer = setTimeout(() => this.#controller.abort(new AppError('TIMEOUT', this.#message)), forMs);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
