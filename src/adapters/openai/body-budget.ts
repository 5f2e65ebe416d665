import type { IncomingMessage } from 'node:http';
import { AppError } from '../../shared/errors.ts';

/** Pictures travel within the body, as base64. */
export const gatewayBodyBytesMax = 32 * 1024 * 1024;
/** Of all requests that are being answered, as far as they are large. */
const heldBytesMax = 256 * 1024 * 1024;
/** Smaller ones are bounded by the number of answers at once. */
const smallBytes = 256 * 1024;

/** Keeps large bodies from filling the memory together. */
export class BodyBudget {
  #heldBytes = 0;

  /** Throws OVERLOADED when there is no room for this body now; the answer gives the room back. */
  take(req: IncomingMessage): () => void {
    const declared = Number(req.headers['content-length'] ?? Number.NaN);
    // One that does not say its length may turn out to be as long as any.
    const bytes = Number.isFinite(declared) ? Math.min(declared, gatewayBodyBytesMax) : gatewayBodyBytesMax;
    if (bytes <= smallBytes) return () => undefined;
    if (this.#heldBytes + bytes > heldBytesMax) throw new AppError('OVERLOADED', 'Too many large requests are being answered; try again later.', { retryAfterSeconds: 5 });
    this.#heldBytes += bytes;
    return () => {
      this.#heldBytes -= bytes;
    };
  }
}
