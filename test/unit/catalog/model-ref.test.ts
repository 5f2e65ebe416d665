import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { posix, win32 } from 'node:path';
import { modelIdOf, parseModelRef, parseOwnModelRef } from '../../../src/domains/catalog/model-ref.ts';
import type { ModelRef } from '../../../src/domains/catalog/types.ts';
import { isAppError } from '../../../src/shared/errors.ts';

function parsedOrNull(text: string): ModelRef | null {
  try {
    return parseModelRef(text);
  } catch (error) {
    if (isAppError(error, 'VALIDATION_FAILED')) return null;
    throw error;
  }
}

describe('parseModelRef', () => {
  it.each([
    ['huggingface:org/name', { source: 'huggingface', name: 'org/name', revision: null }],
    ['huggingface:org/name@v1.0', { source: 'huggingface', name: 'org/name', revision: 'v1.0' }],
    ['huggingface:org/name@refs/pr/1', { source: 'huggingface', name: 'org/name', revision: 'refs/pr/1' }],
    ['huggingface:gpt2', { source: 'huggingface', name: 'gpt2', revision: null }],
    ['org/name', { source: 'huggingface', name: 'org/name', revision: null }],
    ['ollama:llama3.2', { source: 'ollama', name: 'llama3.2', revision: null }],
    ['ollama:llama3.2:1b', { source: 'ollama', name: 'llama3.2', revision: '1b' }],
    ['ollama:user/model:q8_0', { source: 'ollama', name: 'user/model', revision: 'q8_0' }],
    ['ollama:library/llama3.2', { source: 'ollama', name: 'llama3.2', revision: null }],
    ['llama3.2', { source: 'ollama', name: 'llama3.2', revision: null }],
    ['llama3.2:1b', { source: 'ollama', name: 'llama3.2', revision: '1b' }],
    ['my-source:org/name', { source: 'my-source', name: 'org/name', revision: null }],
  ])('reads %s', (text, expected) => {
    expect(parseModelRef(text)).toEqual(expected);
  });

  it.each([
    '', ':', 'huggingface:', 'ollama:', '/', 'a/', '/a', 'a//b', 'a/b/c', 'huggingface:../x', 'huggingface:a/..', '..', '.', 'ollama:..', 'ollama:a/..',
    'huggingface:a/b@', 'huggingface:a/b@..', 'huggingface:a/b@/x', 'huggingface:a/b@x/../y', 'ollama:a:', 'ollama:a:b:c', 'ollama:a:../b', 'ollama:-a', 'a b', 'a\0b',
    'a%2Fb', 'https://example.com/x', 'huggingface:a\\b', 'huggingface:a--b/c', 'huggingface:a/b@x//y', 'huggingface:a/b@x/', `huggingface:${'a'.repeat(400)}`,
    'huggingface:a/b@x/./y', 'Source:org/name', 'ollama:a.', 'ollama:CON', 'huggingface:org/nul', 'ollama:a:b.',
  ])('refuses %j', (text) => {
    expect(() => parseModelRef(text)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
  });

  it('takes an Ollama name without source for the same model as the one with it', () => {
    expect(modelIdOf(parseModelRef('llama3.2'))).toBe(modelIdOf(parseModelRef('ollama:library/llama3.2:latest')));
  });

  it('names the field that is wrong', () => {
    expect(() => parseModelRef('../x')).toThrow(expect.objectContaining({ details: { fields: [{ field: 'model_id', message: expect.any(String) }] } }));
  });

  const piece = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 8 }),
    fc.constantFrom('..', '.', '/', '\\', ':', '@', '%2e%2e', '%2F', '\0', 'huggingface:', 'ollama:', 'library/', 'org', 'name', 'CON', 'C:', '~', '-', 'a.b', ' '),
  );
  const idLike = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));

  it('gives only names that stay below a folder, on any system', () => {
    fc.assert(
      fc.property(idLike, (text) => {
        const ref = parsedOrNull(text);
        if (!ref) return;
        for (const part of [ref.source, ref.name, ...(ref.revision === null ? [] : [ref.revision])]) {
          expect(posix.resolve('/store', part).startsWith('/store/')).toBe(true);
          expect(win32.resolve('C:\\store', part).toLowerCase().startsWith('c:\\store\\')).toBe(true);
          expect(part.split('/').every((segment) => /^[A-Za-z0-9_][\w.-]*$/.test(segment) && !segment.endsWith('.'))).toBe(true);
        }
      }),
      { numRuns: 5000 },
    );
  });

  const word = fc.stringMatching(/^[a-z0-9][a-z0-9_]{0,15}$/).filter((text) => !/^(?:con|prn|aux|nul|com\d|lpt\d)$/.test(text));
  const reference = fc.oneof(
    fc.record({ source: fc.constant('huggingface'), name: fc.tuple(word, word).map(([owner, name]) => `${owner}/${name}`), revision: fc.constant(null) }),
    fc.record({ source: fc.constant('ollama'), name: fc.oneof(word, fc.tuple(word, word).map(([owner, name]) => `${owner}x/${name}`)), revision: fc.option(word) }),
  );

  it('reads every id that it makes as the same model', () => {
    fc.assert(
      fc.property(reference, (ref) => {
        const id = modelIdOf(ref);
        expect(modelIdOf(parseModelRef(id))).toBe(id);
        expect(parseModelRef(id)).toEqual({ ...ref, revision: ref.revision === 'latest' ? null : ref.revision });
      }),
    );
  });

  it('never throws anything but VALIDATION_FAILED', () => {
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (text) => void parsedOrNull(text)), { numRuns: 2000 });
  });
});

describe('a name of another registry, which only an Ollama server has', () => {
  it.each([
    ['ollama:hf.co/acme/Tiny-GGUF:Q4_K_M', 'hf.co/acme/Tiny-GGUF', 'Q4_K_M'],
    ['ollama:127.0.0.1:5000/library/name:1b', '127.0.0.1:5000/library/name', '1b'],
    ['ollama:localhost/ns/name', 'localhost/ns/name', null],
    ['ollama:registry.ollama.ai/ns/name:tag', 'ns/name', 'tag'],
    ['ollama:registry.ollama.ai/library/name', 'name', null],
    ['ollama:plain:1b', 'plain', '1b'],
    ['org/name', 'org/name', null],
  ])('is read: %s', (text, name, revision) => {
    expect(parseOwnModelRef(text)).toMatchObject({ name, revision });
  });

  it('is no model of a source, whose names become paths', () => {
    for (const text of ['ollama:hf.co/acme/Tiny-GGUF:Q4_K_M', 'ollama:127.0.0.1:5000/library/name']) expect(() => parseModelRef(text)).toThrow(/model_id/);
  });

  it('is refused when it is none', () => {
    const bad = ['ollama:../a/b', 'ollama:a..b/c/d', 'ollama:h:/c/d', 'ollama:h:999999/c/d', 'ollama:h:5000:1/c/d', 'ollama:-h/c/d', 'ollama:h/c/d/e', 'ollama:h/../d', 'ollama:h/c/d:', 'ollama:h/c/d:t:u', 'ollama:u@h/c/d', 'ollama:h /c/d', `ollama:${'h'.repeat(260)}/c/d`, 'hf.co/acme/name:Q4', 'ollama:h\0/c/d', 'ollama:h/c\n/d'];
    for (const text of bad) expect(() => parseOwnModelRef(text)).toThrow(/model_id/);
  });
});
