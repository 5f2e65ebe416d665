/** Time as the domains see it; tests use one that they move by hand. */
export type Clock = {
  /** Wall-clock time, for what people read and rows store. */
  now(): Date;
  /** Milliseconds that never run backwards, for durations and speeds. */
  monotonicMs(): number;
  /** Rejects with the signal's reason when it aborts. */
  sleep(durationMs: number, signal?: AbortSignal): Promise<void>;
};
