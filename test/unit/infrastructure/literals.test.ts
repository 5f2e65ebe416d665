import { describe, expect, it } from '@jest/globals';
import { PostgreSqlPlatform } from '@mikro-orm/postgresql';
import { toLiteral } from '../../../src/infrastructure/database/literals.ts';

const theirs = new PostgreSqlPlatform();
/** What an attacker would write, and what is rare. */
const parts = ["'", "''", '\\', "\\'", '?', '$1', '$&', "$'", '--', ';', '\n', '\r', '\t', 'E', ' ', 'ä', '語', '👍', '\ud83d', '\udc4d', '\u2028', 'a'];

describe('toLiteral', () => {
  it('says of every mixture of quotes, backslashes and other characters what MikroORM says', () => {
    let seed = 7;
    const next = (below: number): number => {
      seed = (seed * 48_271) % 2_147_483_647;
      return seed % below;
    };
    for (let round = 0; round < 5_000; round += 1) {
      const text = Array.from({ length: next(12) }, () => parts[next(parts.length)]).join('');
      expect(toLiteral(text)).toBe(theirs.escape(text));
    }
  });

  it.each([
    ['', "''"],
    ["O'Brien", "'O''Brien'"],
    ['C:\\temp', " E'C:\\\\temp'"],
    ["\\'; drop table chat_messages; --", " E'\\\\''; drop table chat_messages; --'"],
  ])('writes %j as %s', (text, literal) => {
    expect(toLiteral(text)).toBe(literal);
  });
});
