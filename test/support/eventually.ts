import { sleep } from '../../src/shared/async.ts';

const pollMs = 10;
/** What takes a second on a quiet machine takes half a minute on one that others use as well. */
const eventuallyMs = 60_000;

/** Asks `check` again until it gives something truthy; fails with `what` after `timeoutMs`. */
export async function eventually<T>(what: string, check: () => T | Promise<T>, timeoutMs = eventuallyMs): Promise<NonNullable<T>> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await sleep(pollMs);
  }
}
