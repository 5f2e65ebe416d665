import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { deriveTitle } from '../../../src/domains/chat/views.ts';

describe('a title from the first message', () => {
  it('is its text on one line, cut between words', () => {
    expect(deriveTitle('  Hello\n\tworld ')).toBe('Hello world');
    expect(deriveTitle('word '.repeat(30))).toBe(`${'word '.repeat(15).trimEnd()}…`);
    expect(deriveTitle('x'.repeat(500))).toBe(`${'x'.repeat(79)}…`);
  });

  it('is never empty, too long or broken', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => {
        fc.pre(text.trim() !== '');
        const title = deriveTitle(text);
        expect(title.length).toBeGreaterThan(0);
        expect(title.length).toBeLessThanOrEqual(80);
        expect(title.isWellFormed()).toBe(true);
      }),
    );
  });
});
