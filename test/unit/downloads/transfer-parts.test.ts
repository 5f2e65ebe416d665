import { describe, expect, it } from '@jest/globals';
import type { Clock } from '../../../src/shared/clock.ts';
import { HostSlots } from '../../../src/domains/downloads/transfer/host-slots.ts';
import { backoffMs, waitOf } from '../../../src/domains/downloads/transfer/retry-policy.ts';
import { SpeedWindow } from '../../../src/domains/downloads/transfer/speed-window.ts';
import { TokenBucket } from '../../../src/domains/downloads/transfer/token-bucket.ts';
import { never } from '../../support/downloads/room.ts';

/** Time moves only by sleeping. */
function handClock(): Clock & { nowMs: number } {
  const clock = {
    nowMs: 0,
    now: () => new Date(clock.nowMs),
    monotonicMs: () => clock.nowMs,
    sleep: (durationMs: number) => {
      clock.nowMs += durationMs;
      return Promise.resolve();
    },
  };
  return clock;
}

describe('the speed', () => {
  it('is that of the last five seconds, and falls to nothing when nothing comes', () => {
    const speed = new SpeedWindow();
    for (let second = 0; second < 20; second += 1) speed.add(1000, second * 1000);
    expect(speed.bytesPerSecond(19_500)).toBe(1000);
    expect(speed.averageBytesPerSecond(19_500)).toBeGreaterThan(900);
    expect(speed.bytesPerSecond(22_000)).toBeLessThan(1000);
    expect(speed.bytesPerSecond(26_000)).toBe(0);
    expect(speed.averageBytesPerSecond(26_000)).toBeGreaterThan(0);
    expect(speed.averageBytesPerSecond(60_000)).toBe(0);
  });

  it('is not exaggerated by the first bytes', () => {
    const speed = new SpeedWindow();
    speed.add(1000, 0);
    expect(speed.bytesPerSecond(1)).toBe(1000);
  });

  it('is nothing before the first byte', () => {
    expect(new SpeedWindow().bytesPerSecond(5)).toBe(0);
  });
});

describe('a limit of speed', () => {
  it('lets no more through than it says', async () => {
    const clock = handClock();
    const bucket = new TokenBucket(clock, 1_000_000);
    for (let taken = 0; taken < 10_000_000; taken += 64_000) await bucket.take(64_000, never);
    expect(clock.nowMs).toBeGreaterThan(9_500);
    expect(clock.nowMs).toBeLessThan(10_500);
  });

  it('does not wait where there is none', async () => {
    const clock = handClock();
    await new TokenBucket(clock, null).take(1e12, never);
    expect(clock.nowMs).toBe(0);
  });

  it('forgets its debt when it is changed', async () => {
    const clock = handClock();
    const bucket = new TokenBucket(clock, 1000);
    const waiting = bucket.take(1_000_000, never);
    bucket.setLimit(null);
    await waiting;
    expect(clock.nowMs).toBeLessThan(1000);
  });
});

describe('connections to a host', () => {
  it('are counted over all transfers, and handed on in order', async () => {
    const slots = new HostSlots(handClock(), 2);
    const [first] = [await slots.acquire('a', 'task', never), await slots.acquire('a', 'task', never)];
    const order: number[] = [];
    const third = slots.acquire('a', 'task', never).then((release) => (order.push(3), release));
    const fourth = slots.acquire('a', 'task', never).then((release) => (order.push(4), release));
    await slots.acquire('b', 'task', never);
    expect(order).toEqual([]);
    first();
    first();
    (await third)();
    await fourth;
    expect(order).toEqual([3, 4]);
  });

  it('go to the task that has the fewest, however many the others wait for', async () => {
    const slots = new HostSlots(handClock(), 4);
    const greedy = await Promise.all(Array.from({ length: 4 }, () => slots.acquire('a', 'greedy', never)));
    const order: string[] = [];
    const wait = async (owner: string): Promise<void> => {
      await slots.acquire('a', owner, never);
      order.push(owner);
    };
    const waiting = [...Array.from({ length: 8 }, () => wait('greedy')), wait('modest'), wait('modest'), wait('modest')];
    for (const release of greedy) release();
    await Promise.race(waiting.slice(8));
    await new Promise((resolve) => setImmediate(resolve));
    expect(order.sort()).toEqual(['greedy', 'greedy', 'modest', 'modest']);
  });

  it('give up their place when they are stopped while waiting', async () => {
    const slots = new HostSlots(handClock(), 1);
    const release = await slots.acquire('a', 'task', never);
    const stop = new AbortController();
    const waiting = slots.acquire('a', 'task', stop.signal);
    stop.abort(new Error('stopped'));
    await expect(waiting).rejects.toThrow('stopped');
    release();
    (await slots.acquire('a', 'task', never))();
  });

  it('wait while the host wants to be left alone', async () => {
    const clock = handClock();
    const slots = new HostSlots(clock, 2);
    slots.quiet('a', 5000);
    await slots.acquire('a', 'task', never);
    expect(clock.nowMs).toBe(5000);
  });
});

describe('waiting', () => {
  it('doubles from try to try up to a ceiling, never less than half of it', () => {
    const waits = [1, 2, 3, 10, 1000].map((tries) => [backoffMs(tries, { baseMs: 500, maxMs: 30_000 }, () => 0), backoffMs(tries, { baseMs: 500, maxMs: 30_000 }, () => 1)]);
    expect(waits).toEqual([[250, 500], [500, 1000], [1000, 2000], [15_000, 30_000], [15_000, 30_000]]);
  });

  it.each([
    [{ retryAfter: '7' }, 7000],
    [{ retryAfter: '1.5' }, 1500],
    [{ retryAfter: '-5' }, null],
    [{ retryAfter: '1e9' }, null],
    [{ retryAfter: 'Thu, 01 Jan 1970 00:00:09 GMT' }, 9000],
    [{ rateLimit: '"api";r=0;t=55' }, 56_000],
    [{ retryAfter: 'soon', rateLimit: 'nothing' }, null],
    [{ retryAfter: '999999999' }, 3_600_000],
    [{}, null],
  ])('obeys what the server says: %j', (headers, expected) => {
    expect(waitOf(headers, 0)).toBe(expected);
  });
});
