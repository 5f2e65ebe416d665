import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { isValidProgress, PartMap } from '../../../src/domains/downloads/transfer/part-map.ts';

describe('a map of parts', () => {
  it('hands out parts in order, each to one taker, and a returned one first', () => {
    const map = new PartMap(25, 10);
    const [first, second] = [map.take(), map.take()];
    expect([first, second, map.take(), map.take()]).toEqual([{ index: 0, count: 1, start: 0, end: 10 }, { index: 1, count: 1, start: 10, end: 20 }, { index: 2, count: 1, start: 20, end: 25 }, null]);
    map.advance(0, 4);
    map.release({ index: 0, count: 1 });
    expect(map.take()).toEqual({ index: 0, count: 1, start: 4, end: 10 });
  });

  it('hands out several parts as one, as far as nobody has or has begun the ones behind', () => {
    const map = new PartMap(75, 10, { prefix: 13, parts: [[4, 2]] });
    expect(map.freeParts(100)).toBe(7);
    expect(map.freeParts(3)).toBe(3);
    const run = map.take(8);
    expect(run).toEqual({ index: 1, count: 3, start: 13, end: 40 });
    expect(map.take(2)).toEqual({ index: 4, count: 2, start: 42, end: 60 });
    expect(map.take(8)).toEqual({ index: 6, count: 2, start: 60, end: 75 });
    expect([map.take(8), map.freeParts(100), map.hasFree]).toEqual([null, 0, false]);
    map.advance(1, 7);
    map.advance(2, 5);
    map.release({ index: 1, count: 3 });
    expect(map.prefixBytes).toBe(25);
    // Half of what was one comes back; the rest of it is still one piece.
    expect(map.take(8)).toEqual({ index: 2, count: 2, start: 25, end: 40 });
  });

  it('is complete from the start for an empty file', () => {
    expect(new PartMap(0, 10)).toMatchObject({ isComplete: true, prefixBytes: 0 });
    expect(new PartMap(0, 10).take()).toBeNull();
  });

  it('forgets what lies beyond the first gap when told so', () => {
    const map = new PartMap(40, 10, { prefix: 13, parts: [[2, 10], [3, 4]] });
    map.dropAfterPrefix();
    expect(map.progress()).toEqual({ prefix: 13, parts: [] });
    expect(map.doneBytes).toBe(13);
  });

  it('is the same after it was written down and read again, at any moment of any transfer', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 1, max: 60 }), fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: 60 }), (size, partBytes, steps) => {
        const map = new PartMap(size, partBytes);
        const bytes = new Uint8Array(size);
        for (const [pick, amount] of steps) {
          const index = Math.ceil(size / partBytes) === 0 ? 0 : pick % Math.ceil(size / partBytes);
          const length = Math.min(partBytes, size - index * partBytes);
          const done = bytes.subarray(index * partBytes, index * partBytes + length).filter((byte) => byte === 1).length;
          const more = Math.min(amount % (partBytes + 1), length - done);
          if (size === 0 || more <= 0) continue;
          map.advance(index, more);
          bytes.fill(1, index * partBytes + done, index * partBytes + done + more);
        }
        const gap = bytes.indexOf(0);
        expect(map.prefixBytes).toBe(gap === -1 ? size : gap);
        expect(map.doneBytes).toBe(bytes.filter((byte) => byte === 1).length);
        expect(isValidProgress(map.progress(), size, partBytes)).toBe(true);
        const again = new PartMap(size, partBytes, map.progress());
        expect(again.progress()).toEqual(map.progress());
        expect(again.doneBytes).toBe(map.doneBytes);
        for (let part = again.take(1 + (size % 4)); part; part = again.take(1 + (size % 4))) {
          for (let at = part.start; at < part.end; at += 1) again.advance(Math.floor(at / partBytes), 1);
        }
        expect(again.isComplete).toBe(true);
      }),
      { numRuns: 500 },
    );
  });
});

describe('a map that was read from a disk', () => {
  it.each([
    [{ prefix: -1, parts: [] }],
    [{ prefix: 101, parts: [] }],
    [{ prefix: 1.5, parts: [] }],
    [{ prefix: 0, parts: [[0, 5]] }],
    [{ prefix: 0, parts: [[11, 5]] }],
    [{ prefix: 0, parts: [[3, 11]] }],
    [{ prefix: 0, parts: [[3, 1], [3, 1]] }],
  ] as { prefix: number; parts: [number, number][] }[][])('is not believed when it cannot be: %j', (progress) => {
    expect(isValidProgress(progress, 100, 10)).toBe(false);
  });
});
