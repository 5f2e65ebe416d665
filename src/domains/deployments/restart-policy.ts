import type { RestartPolicy } from './types.ts';

/** An engine that was asked for is wanted until somebody stops it; five quick failures are a fault, not bad luck. */
export const defaultRestartPolicy: RestartPolicy = { policy: 'always', maxRetries: 5 };

const minuteMs = 60_000;
/** Failures further apart than this do not add up to `failed`. */
export const failureWindowMs = 10 * minuteMs;
/** After this long without a failure the curve starts anew. */
export const healthyResetMs = 10 * minuteMs;
const firstDelayMs = 10_000;
const delayMaxMs = 300_000;
/** The window never holds more: the largest `maxRetries` that is accepted, and the failure that exceeds it. */
const failuresKept = 101;

/** How one run of the engine ended, as far as the policy cares. */
export type RunEnd = {
  /** It ran and ended by itself with exit code 0. */
  clean: boolean;
  /** Trying again cannot help (the file is damaged, the model is not installed). */
  fatal: boolean;
};

export type RestartDecision =
  | { action: 'restart'; delayMs: number; failures: readonly string[] }
  | { action: 'fail'; failures: readonly string[]; inWindow: number }
  /** The engine did what it was meant to do and is not wanted again. */
  | { action: 'end' };

/**
 * What follows an end that nobody asked for. `failures` are the times (ISO 8601) of earlier ones since the engine
 * was last healthy for long, or since an operator started it.
 */
export function decideRestart(policy: RestartPolicy, end: RunEnd, failures: readonly string[], now: Date): RestartDecision {
  if (end.clean && policy.policy !== 'always') return { action: 'end' };
  const all = [...failures, now.toISOString()].slice(-failuresKept);
  const inWindow = all.filter((at) => now.getTime() - Date.parse(at) < failureWindowMs).length;
  if (end.fatal || policy.policy === 'never' || inWindow > policy.maxRetries) return { action: 'fail', failures: all, inWindow };
  return { action: 'restart', delayMs: restartDelayMs(all.length), failures: all };
}

/** 0, 10, 20, 40 ... 300 s after the first, second, third ... failure in a row. */
export function restartDelayMs(failuresInRow: number): number {
  if (failuresInRow <= 1) return 0;
  return Math.min(delayMaxMs, firstDelayMs * 2 ** (failuresInRow - 2));
}
