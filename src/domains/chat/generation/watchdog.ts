import { AppError } from '../../../shared/errors.ts';

/** Aborts with TIMEOUT when nobody has fed it for the time given last. */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #message: string;
  #timer: NodeJS.Timeout | undefined;

  constructor(message: string) {
    this.#message = message;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  feed(forMs: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#controller.abort(new AppError('TIMEOUT', this.#message)), forMs);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
