/**
 * Why work was stopped. Handed to `AbortController.abort(...)`, so that whoever waits can tell a pause from a
 * cancellation, a shutdown or a caller that went away. None of them is an error.
 */
export type StopCause = 'paused' | 'cancelled' | 'shutdown' | 'stopped' | 'caller_gone' | 'superseded';

export class StopReason extends Error {
  override readonly name = 'AbortError';
  readonly why: StopCause;

  constructor(why: StopCause) {
    // Made for each request that ends; a stack, which nobody asks for, would cost more than all the rest of it.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    super(`stopped: ${why}`);
    Error.stackTraceLimit = stackTraceLimit;
    this.why = why;
  }
}

/** The cause when `error` (or the signal's reason) is a deliberate stop, else undefined. */
export function stopCauseOf(error: unknown): StopCause | undefined {
  return error instanceof StopReason ? error.why : undefined;
}

/** True for a deliberate stop as well as for a plain AbortError of the platform. */
export function isAbort(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'name' in error && error.name === 'AbortError';
}
