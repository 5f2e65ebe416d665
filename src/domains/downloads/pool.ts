/**
 * Runs `work` over the items, `width` at a time and in their order. The first failure ends the others; this resolves or
 * rejects only when all have ended, so that nothing goes on behind the caller's back.
 */
export async function runPool<T>(items: readonly T[], width: number, work: (item: T, signal: AbortSignal) => Promise<void>, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  const controller = new AbortController();
  const onAbort = (): void => controller.abort(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const failures: unknown[] = [];
  const pending = [...items];
  const lane = async (): Promise<void> => {
    for (let item = pending.shift(); item !== undefined && failures.length === 0; item = pending.shift()) {
      try {
        await work(item, controller.signal);
      } catch (error) {
        failures.push(error);
        controller.abort(error);
      }
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(width, items.length) }, lane));
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
  signal.throwIfAborted();
  if (failures.length > 0) throw failures[0] as Error;
}
