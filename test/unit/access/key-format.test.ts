import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { hashKey, makeKey, operatorPrefix, parseKey, sameHash } from '../../../src/domains/access/key-format.ts';
import { isOperatorKey } from '../../../src/shared/operator-key.ts';

describe('key format', () => {
  it('makes keys of one shape that it recognises, each with its own prefix', () => {
    const keys = Array.from({ length: 500 }, makeKey);
    for (const key of keys) expect(key).toMatch(/^llmm_[0-9A-Za-z]{8}_[0-9A-Za-z]{49}$/);
    const prefixes = keys.map((key) => parseKey(key)?.prefix);
    expect(prefixes).toEqual(keys.map((key) => key.slice(0, 13)));
    expect(new Set(prefixes).size).toBe(keys.length);
  });

  it('keeps the checksum of its first release, so that old keys stay valid', () => {
    const body = `llmm_AAAAAAAA_${'b'.repeat(43)}`;
    expect(parseKey(`${body}1umAcd`)).toEqual({ prefix: 'llmm_AAAAAAAA' });
  });

  it('notices every single mistyped character', () => {
    const key = makeKey();
    for (let position = 0; position < key.length; position += 1) {
      const other = key.charAt(position) === 'x' ? 'y' : 'x';
      expect(parseKey(key.slice(0, position) + other + key.slice(position + 1))).toBeNull();
    }
  });

  it('refuses any other text', () => {
    fc.assert(fc.property(fc.string({ maxLength: 400, unit: 'binary' }), (text) => parseKey(text) === null));
    for (const text of ['', 'llmm_', `${makeKey()} `, ` ${makeKey()}`, `${makeKey()}\n`, makeKey().toUpperCase(), `${makeKey()}${makeKey()}`]) expect(parseKey(text)).toBeNull();
  });

  it('lets an operator choose any printable key of 16 to 256 characters', () => {
    for (const text of ['correct-horse-battery', '0123456789abcdef', '~'.repeat(256), makeKey()]) expect(isOperatorKey(text)).toBe(true);
    for (const text of ['', 'short', '0123456789abcde', '~'.repeat(257), 'sixteen letters and spaces', 'schlüssel-mit-umlaut', `0123456789abcdef\n`]) expect(isOperatorKey(text)).toBe(false);
  });

  it('derives a prefix from an operator key that tells keys apart without showing them', () => {
    const secret = 'correct-horse-battery-staple';
    const prefix = operatorPrefix(hashKey(secret));
    expect(prefix).toMatch(/^env_[0-9a-f]{8}$/);
    expect(hashKey(secret)).not.toContain(prefix.slice(4));
    expect(operatorPrefix(hashKey(`${secret}.`))).not.toBe(prefix);
  });

  it('compares hashes by value', () => {
    expect(sameHash(hashKey('a'), hashKey('a'))).toBe(true);
    expect(sameHash(hashKey('a'), hashKey('b'))).toBe(false);
  });
});
