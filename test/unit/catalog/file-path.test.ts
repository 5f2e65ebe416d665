import { posix, win32 } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { formatOfPath, isSafeFilePath, weightFormatsOf } from '../../../src/domains/catalog/file-path.ts';

describe('isSafeFilePath', () => {
  it.each(['model.gguf', 'Q4_K_M/model-00001-of-00002.gguf', '.gitattributes', 'a b (1).txt', 'ünïcode.json', 'a.b.c', 'console.txt', 'original/x[1].pth'])('takes %s', (path) => {
    expect(isSafeFilePath(path)).toBe(true);
  });

  it.each([
    '', '.', '..', '/', '/etc/x', '../x', 'a/../b', 'a/./b', 'a//b', 'a/', 'a\\b', '..\\x', 'C:/x', 'c:x', 'a\0b', 'a\nb', 'CON', 'con.txt', 'a/NUL', 'LPT1.gguf', 'a.', 'a ', 'a/b. /c',
    'x:stream', 'a*', 'a?', 'a|b', '"a"', '<a>', '\u202Ea', 'e\u0301.txt', '\ud800', 'x'.repeat(256), 'é'.repeat(128), Array.from({ length: 20 }, () => 'x'.repeat(60)).join('/'),
  ])('refuses %j', (path) => {
    expect(isSafeFilePath(path)).toBe(false);
  });

  it('takes only paths that stay below a folder, on any system', () => {
    const piece = fc.oneof(fc.string({ unit: 'binary', maxLength: 6 }), fc.constantFrom('..', '.', '/', '\\', '\0', 'C:', 'CON', 'a', '//', 'a/b', ' '));
    const path = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(''));
    fc.assert(
      fc.property(path, (text) => {
        if (!isSafeFilePath(text)) return;
        expect(posix.resolve('/store', text)).toBe(`/store/${text}`);
        expect(win32.resolve('C:\\store', text)).toBe(`C:\\store\\${text.replaceAll('/', '\\')}`);
      }),
      { numRuns: 20_000 },
    );
  });
});

describe('formats', () => {
  it.each([['a.GGUF', 'gguf'], ['a.safetensors', 'safetensors'], ['pytorch_model.bin', 'pytorch'], ['a.onnx_data', 'onnx'], ['README', 'other'], ['a.constructor', 'other']])('takes %s for %s', (path, format) => {
    expect(formatOfPath(path)).toBe(format);
  });

  it('names formats of weights only', () => {
    expect(weightFormatsOf([{ format: 'other' }, { format: 'safetensors' }, { format: 'gguf' }, { format: 'gguf' }])).toEqual(['gguf', 'safetensors']);
  });
});
