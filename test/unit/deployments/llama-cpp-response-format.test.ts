import { describe, expect, it } from '@jest/globals';
import { toGrammarSchema } from '../../../src/domains/deployments/runtimes/llama-cpp/child/response-format.ts';

describe('toGrammarSchema', () => {
  it('leaves out what only describes and writes anyOf and definitions in the words of the generator', () => {
    const schema = {
      $schema: 'x',
      title: 'Answer',
      type: 'object',
      required: ['a'],
      properties: { title: { anyOf: [{ type: 'string', description: 'x' }, { type: 'null' }] }, list: { type: 'array', items: { $ref: '#/definitions/item' } } },
      definitions: { item: { enum: ['x', 'y'], default: 'x' } },
      additionalProperties: false,
    };
    expect(toGrammarSchema(schema)).toEqual({
      type: 'object',
      properties: { title: { oneOf: [{ type: 'string' }, { type: 'null' }] }, list: { type: 'array', items: { $ref: '#/$defs/item' } } },
      $defs: { item: { enum: ['x', 'y'] } },
      additionalProperties: false,
    });
  });

  it.each([
    ['a constraint that it would drop', { type: 'number', minimum: 3 }, '"minimum"'],
    ['one in the depth', { type: 'object', properties: { a: { items: { not: {} }, type: 'array' } } }, '"not"'],
    ['an unknown format', { type: 'string', format: 'email' }, '"email"'],
    ['properties that are no object', { type: 'object', properties: [] }, '"properties"'],
    ['a list of no schemas', { oneOf: 'x' }, '"oneOf"'],
    ['a schema of 100 kB', { enum: ['x'.repeat(100_000)] }, 'longer'],
    ['a schema of 40 levels', nested(40), 'deeper'],
  ])('refuses %s and names it', (_what, schema, named) => {
    expect(() => toGrammarSchema(schema)).toThrow(named);
  });
});

function nested(levels: number): Record<string, unknown> {
  return levels === 0 ? { type: 'null' } : { type: 'array', items: nested(levels - 1) };
}
