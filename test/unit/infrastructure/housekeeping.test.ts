import { describe, expect, it } from '@jest/globals';
import { keepHouse } from '../../../src/infrastructure/lifecycle/housekeeping.ts';
import { StopReason } from '../../../src/shared/abort.ts';
import { rememberFor } from '../../../src/shared/remember.ts';
import { silentLogger } from '../../support/silent-logger.ts';

describe('housekeeping', () => {
  it('does every chore each time, past one that fails, until it is stopped', async () => {
    const done: string[] = [];
    const stopping = new AbortController();
    let rounds = 0;
    const clock = {
      now: () => new Date(),
      monotonicMs: () => 0,
      sleep: async (_durationMs: number, signal?: AbortSignal) => {
        if (++rounds === 2) stopping.abort(new StopReason('shutdown'));
        signal?.throwIfAborted();
      },
    };
    const chores = [
      { name: 'first', run: () => Promise.reject(new Error('the database is away')) },
      { name: 'second', run: async () => done.push('second') },
    ];
    await keepHouse({ chores, everyMs: 1, clock, logger: silentLogger }, stopping.signal);
    expect(done).toEqual(['second', 'second']);
  });
});

describe('a remembered answer', () => {
  it('is shared until it is too old', async () => {
    let now = 0;
    let loads = 0;
    const read = rememberFor(10, { monotonicMs: () => now }, async () => ++loads);
    expect(await Promise.all([read(), read()])).toEqual([1, 1]);
    now = 10;
    expect(await read()).toBe(1);
    now = 11;
    expect(await read()).toBe(2);
  });

  it('is asked for again at once after a failure', async () => {
    let loads = 0;
    const read = rememberFor(10, { monotonicMs: () => 0 }, async () => {
      if (++loads === 1) throw new Error('away');
      return loads;
    });
    await expect(read()).rejects.toThrow('away');
    expect(await read()).toBe(2);
  });
});
