import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';

export type BodyBudgetOptions = {
  /** Of one body: as much is kept free for one that does not say its length. */
  bytesMax: number;
  /** Of all requests that are being answered, as far as they are large. */
  heldBytesMax: number;
  /** Up to here a body is not counted: the number of requests bounds them. */
  smallBytes: number;
};

/** Keeps large bodies from filling the memory together. */
export class BodyBudget {
  readonly #options: BodyBudgetOptions;
  #heldBytes = 0;

  constructor(options: BodyBudgetOptions) {
    this.#options = options;
  }

  /** Throws OVERLOADED when there is no room for this body now; the answer gives the room back. */
  take(req: IncomingMessage): () => void {
    const { bytesMax, heldBytesMax, smallBytes } = this.#options;
    const declared = Number(req.headers['content-length'] ?? Number.NaN);
    // One that does not say its length may turn out to be as long as any.
    const bytes = Number.isFinite(declared) ? Math.min(declared, bytesMax) : bytesMax;
    if (bytes <= smallBytes) return () => undefined;
    if (this.#heldBytes + bytes > heldBytesMax) throw new AppError('OVERLOADED', 'Too many large requests are being answered; try again later.', { retryAfterSeconds: 5 });
    this.#heldBytes += bytes;
    return () => {
      this.#heldBytes -= bytes;
    };
  }
}
