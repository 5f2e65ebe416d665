import { expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { nameFaults, nameFromModel, nthName } from '../../../src/domains/deployments/deployment-name.ts';

it('makes a name from a model', () => {
  expect(nameFromModel('HuggingFaceTB/SmolLM2-135M-Instruct-GGUF')).toBe('smollm2-135m-instruct-gguf');
  expect(nameFromModel('qwen2.5:0.5b')).toBe('qwen2.5-0.5b');
});

it('makes a valid name of any text, with room for a number', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), fc.integer({ min: 1, max: 999 }), (text, attempt) => nameFaults(nthName(nameFromModel(text), attempt)).length === 0));
});

it('refuses names that could not be a model id of the gateway', () => {
  for (const name of ['', 'Upper', '-begins', 'has space', 'a/b', 'a:b', 'x'.repeat(64), 'new\nline', 'é']) expect(nameFaults(name)).toHaveLength(1);
  for (const name of ['a', '0', 'x'.repeat(63), 'a.b_c-d']) expect(nameFaults(name)).toEqual([]);
});
