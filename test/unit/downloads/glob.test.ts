import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { parseGlob } from '../../../src/domains/downloads/planning/glob.ts';

const matches = (pattern: string, path: string): boolean | undefined => parseGlob(pattern)?.(path);

describe('a glob pattern', () => {
  it.each([
    ['*.gguf', 'model.gguf', true],
    ['*.gguf', 'Q8_0/model.gguf', true],
    ['*.gguf', 'model.gguf.json', false],
    ['Q8_0/*', 'Q8_0/model.gguf', true],
    ['Q8_0/*', 'Q8_0/deep/model.gguf', false],
    ['Q8_0/**', 'Q8_0/deep/model.gguf', true],
    ['Q8_0/', 'Q8_0/deep/model.gguf', true],
    ['**/config.json', 'config.json', true],
    ['**/config.json', 'a/b/config.json', true],
    ['/config.json', 'config.json', true],
    ['*Q4_K_?.gguf', 'm.Q4_K_M.gguf', true],
    ['*Q[45]_K_M*', 'm.Q5_K_M.gguf', true],
    ['*Q[!45]_K_M*', 'm.Q5_K_M.gguf', false],
    ['*.[a-g]guf', 'm.gguf', true],
    ['*.{gguf,json}', 'config.json', true],
    ['*.{gguf,json}', 'README.md', false],
    ['a.b', 'axb', false],
    ['model.gguf', 'MODEL.gguf', false],
    ['**', 'any/thing.txt', true],
    ['a?c/x', 'a/c/x', false],
  ])('%s and %s: %s', (pattern, path, expected) => {
    expect(matches(pattern, path)).toBe(expected);
  });

  it.each(['', 'x'.repeat(257), '[abc', '{a,b', '{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}'])('is refused when it is none, or too wide: %s', (pattern) => {
    expect(parseGlob(pattern)).toBeNull();
  });

  it('takes no longer for a hostile pattern', () => {
    const glob = parseGlob(`${'*a'.repeat(100)}b`);
    const startedAt = performance.now();
    expect(glob?.('a'.repeat(1000))).toBe(false);
    expect(performance.now() - startedAt).toBeLessThan(1000);
  });

  it('matches each path that it spells out', () => {
    fc.assert(
      fc.property(fc.array(fc.stringMatching(/^[a-zA-Z0-9._-]{1,12}$/), { minLength: 1, maxLength: 4 }), (names) => {
        const path = names.join('/');
        expect(matches(path, path)).toBe(true);
        expect(matches(`${path}x`, path)).toBe(false);
      }),
    );
  });
});
