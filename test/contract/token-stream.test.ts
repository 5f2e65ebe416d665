import { describe, expect, it } from '@jest/globals';
import { MemoryTokenStream } from '../../src/infrastructure/events/memory-token-stream.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import { describeTokenStream, readAll } from './token-stream.suite.ts';

describeTokenStream('in memory', async () => new MemoryTokenStream({ clock: systemClock }));

describe("the memory stream's bounds", () => {
  let nowMs = 0;
  const clock = { now: () => new Date(0), monotonicMs: () => nowMs, sleep: () => Promise.resolve() };

  it('forgets an ended stream when its time is up, and no live one', async () => {
    const stream = new MemoryTokenStream({ clock, keepEndedMs: 600_000 });
    stream.append('live', 'a');
    await stream.end('ended', {});
    nowMs += 599_999;
    expect(await stream.has('ended')).toBe(true);
    nowMs += 1;
    expect([await stream.has('ended'), await stream.has('live')]).toEqual([false, true]);
    stream.close();
  });

  it('drops the ended stream that was read longest ago when the bytes run out', async () => {
    const stream = new MemoryTokenStream({ clock, bytesMax: 3 * (2 * 1_000 + 32) });
    for (const id of ['one', 'two', 'three']) {
      stream.append(id, 'x'.repeat(1_000));
      if (id !== 'three') await stream.end(id, {});
    }
    await readAll(stream.read('one', -1));
    stream.append('three', 'y');
    expect([await stream.has('one'), await stream.has('two'), await stream.has('three')]).toEqual([true, false, true]);
    stream.close();
  });

  it('refuses a piece when live streams alone fill it, and a message when too many live', async () => {
    const stream = new MemoryTokenStream({ clock, bytesMax: 4_000, messagesMax: 2, piecesMax: 3 });
    stream.append('one', 'x'.repeat(1_500));
    expect(() => stream.append('two', 'x'.repeat(1_500))).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    expect(() => stream.append('three', 'x')).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    stream.append('one', 'a');
    stream.append('one', 'b');
    expect(() => stream.append('one', 'c')).toThrow(expect.objectContaining({ code: 'OVERLOADED' }));
    stream.close();
  });

  it('ends a reader that stopped pulling when its stream has been dropped meanwhile', async () => {
    const stream = new MemoryTokenStream({ clock, messagesMax: 1 });
    for (const text of ['a', 'b']) stream.append('one', text);
    await stream.end('one', {});
    const entries = stream.read('one', -1)[Symbol.asyncIterator]();
    expect(await entries.next()).toMatchObject({ value: { text: 'a' } });
    stream.append('two', 'x');
    expect(await entries.next()).toEqual({ done: true, value: undefined });
    stream.close();
  });

  it('lets other work have its turn while readers catch up with a long answer', async () => {
    const stream = new MemoryTokenStream({ clock });
    for (let count = 0; count < 2_000; count += 1) stream.append('long', 'x');
    await stream.end('long', {});
    let turns = 0;
    const count = (): NodeJS.Immediate => {
      turns += 1;
      return (turn = setImmediate(count));
    };
    let turn = setImmediate(count);
    const entries = await Promise.all([1, 2, 3].map(() => readAll(stream.read('long', -1))));
    clearImmediate(turn);
    expect(entries.map(({ length }) => length)).toEqual([2_001, 2_001, 2_001]);
    expect(turns).toBeGreaterThanOrEqual(100);
    stream.close();
  });
});
