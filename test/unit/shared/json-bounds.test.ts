import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { jsonBoundsFault } from '../../../src/shared/json-bounds.ts';

const faultOf = (text: string): string | null => jsonBoundsFault(Buffer.from(text));

describe('the shape of a JSON text', () => {
  it('is no fault of whatever a program has written', () => {
    fc.assert(fc.property(fc.json(), (text) => {
      expect(faultOf(text)).toBeNull();
    }));
  });

  it.each([
    ['lists in lists', `${'['.repeat(512)}${']'.repeat(512)}`, `${'['.repeat(513)}${']'.repeat(513)}`, 'nested'],
    ['many lists', `[${'[],'.repeat(499_998)}[]]`, `[${'[],'.repeat(499_999)}[]]`, 'lists and objects'],
    ['many members', `{${'"":0,'.repeat(1_499_999)}"":0}`, `{${'"":0,'.repeat(1_500_000)}"":0}`, 'members'],
  ])('is judged by %s alone', (_name, most, tooMuch, words) => {
    expect(faultOf(most)).toBeNull();
    expect(faultOf(tooMuch)).toContain(words);
  });

  it.each([
    ['brackets', `"${'['.repeat(600_000)}"`],
    ['escaped quotes', `"${'[\\"'.repeat(600_000)}"`],
    ['escaped backslashes', `"${'\\\\'.repeat(600_000)}${'['.repeat(600)}"`],
    ['no end', `"${'['.repeat(600)}`],
    ['no end after an escaped quote', `"\\"${'['.repeat(600)}`],
  ])('does not count what stands in a text with %s', (_name, text) => {
    expect(faultOf(text)).toBeNull();
  });

  it('goes on behind a text, however long it is and whatever ends it', () => {
    for (const length of [0, 1, 62, 63, 64, 65, 200]) {
      for (const escapes of ['', '\\\\', '\\"', '\\"\\\\', '\\\\\\"'.repeat(40)]) expect(faultOf(`["${'a'.repeat(length)}${escapes}",${'['.repeat(600)}`)).toContain('nested');
    }
  });
});
