/** Delays between tries, and what a server says about when to come back. */

const waitMaxMs = 60 * 60 * 1000;
const doublingsMax = 16;

export type Backoff = { baseMs: number; maxMs: number };

/** Doubles with each try; the jitter keeps many connections that failed together from coming back together. */
export function backoffMs(tries: number, { baseMs, maxMs }: Backoff, random: () => number = Math.random): number {
  const ceiling = Math.min(maxMs, baseMs * 2 ** Math.min(doublingsMax, Math.max(0, tries - 1)));
  return ceiling * (0.5 + random() / 2);
}

/** Milliseconds from `Retry-After` (seconds or a date), else from the Hub's `RateLimit: "api";r=0;t=55`, else null. */
export function waitOf(headers: { retryAfter?: string | undefined; rateLimit?: string | undefined }, nowMs: number): number | null {
  return retryAfterMs(headers.retryAfter, nowMs) ?? rateLimitMs(headers.rateLimit);
}

function clamp(ms: number): number {
  return Math.min(waitMaxMs, Math.max(0, ms));
}

function retryAfterMs(value: string | undefined, nowMs: number): number | null {
  if (value === undefined) return null;
  if (/^\s*\d{1,9}(?:\.\d{1,9})?\s*$/.test(value)) return clamp(Number(value) * 1000);
  // A number of any other form would be read as some day long ago.
  const at = /[a-z]/i.test(value) ? Date.parse(value) : NaN;
  return Number.isNaN(at) ? null : clamp(at - nowMs);
}

function rateLimitMs(value: string | undefined): number | null {
  const reset = /;\s*t=(\d{1,9})/.exec(value ?? '')?.[1];
  // The window ends within that second, not at its start.
  return reset === undefined ? null : clamp((Number(reset) + 1) * 1000);
}
