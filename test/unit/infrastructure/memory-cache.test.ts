import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { createCache } from '../../../src/infrastructure/cache/bento-cache.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { createGate } from '../../../src/shared/async.ts';
import { AppError } from '../../../src/shared/errors.ts';

const never = new AbortController().signal;
const options = { ttlSeconds: 300, graceSeconds: 3600, softTimeoutMs: 50 };

describe('the memory cache', () => {
  let cache: ReturnType<typeof createCache>;
  beforeEach(() => {
    cache = createCache(systemClock);
  });
  afterEach(() => cache.close());

  it('runs one factory for callers that miss together', async () => {
    let runs = 0;
    const gate = createGate();
    const factory = async (): Promise<number> => {
      await gate.opened;
      return ++runs;
    };
    const waiting = Array.from({ length: 20 }, () => cache.getOrSet('k', factory, options, never));
    gate.open();
    const values = (await Promise.all(waiting)).map(({ value }) => value);
    expect(new Set(values)).toEqual(new Set([1]));
  });

  it('says whether a value was fetched by this call', async () => {
    const first = await cache.getOrSet('k', async () => 'a', options, never);
    expect(first).toEqual({ value: 'a', cached: false, stale: false });
    await new Promise((resolve) => setTimeout(resolve, 2));
    const second = await cache.getOrSet('k', async () => 'b', options, never);
    expect(second).toEqual({ value: 'a', cached: true, stale: false });
  });

  it('serves the old value, marked stale, while the source fails', async () => {
    let now = Date.now();
    const movable = createCache({ now: () => new Date(now) });
    const short = { ...options, ttlSeconds: 0.02 };
    await movable.getOrSet('k', async () => 'old', short, never);
    await new Promise((resolve) => setTimeout(resolve, 40));
    now += 1000;
    const hit = await movable.getOrSet('k', () => Promise.reject(new AppError('SOURCE_UNAVAILABLE', 'down')), short, never);
    expect(hit).toEqual({ value: 'old', cached: true, stale: true });
    await movable.close();
  });

  it("passes the factory's own error on when there is nothing older", async () => {
    const failing = cache.getOrSet('k', () => Promise.reject(new AppError('MODEL_NOT_FOUND', 'gone')), options, never);
    await expect(failing).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });

  it('forgets by tag', async () => {
    await cache.getOrSet('k', async () => 1, { ...options, tags: ['model'] }, never);
    await cache.deleteByTag('model');
    expect((await cache.getOrSet('k', async () => 2, options, never)).value).toBe(2);
  });

  it('lets a caller go that stops waiting', async () => {
    const caller = new AbortController();
    const hit = cache.getOrSet('k', () => new Promise<number>(() => undefined), options, caller.signal);
    caller.abort(new Error('left'));
    await expect(hit).rejects.toThrow('left');
  });
});
