import { join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { createLayout } from '../../../src/domains/downloads/storage/model-layout.ts';
import { isSafePath, safeJoin } from '../../../src/domains/downloads/storage/safe-path.ts';

const store = '/store/models';

const hostilePiece = fc.oneof(
  fc.constantFrom('..', '.', '', '/', '\\', '\0', 'CON', 'nul.txt', 'COM1', 'a:b', 'C:', '~', '%2e%2e', '\u202e', '\u0007', 'e\u0301', '\ud800', 'x'.repeat(300), 'ok', 'a b', 'name.', 'name ', '…', 'é'),
  fc.string({ unit: 'binary', maxLength: 20 }),
);
const hostilePath = fc.array(hostilePiece, { maxLength: 8 }).chain((pieces) => fc.constantFrom('/', '', '\\', '//').map((separator) => pieces.join(separator)));

describe('names from outside', () => {
  it.each(['../../x', '/etc/x', 'a\0b', 'CON', 'con.txt', 'a/NUL', 'x'.repeat(256), 'a//b', 'a/./b', 'a/../b', '', '.', '..', 'a\\b', 'C:/x', 'e\u0301', 'a/', '/a', 'x\u202egguf', 'a\nb', 'name.', 'name '])('are refused when they could lead anywhere else: %j', (path) => {
    expect(isSafePath(path)).toBe(false);
    expect(() => safeJoin(store, path)).toThrow('not checked');
  });

  it.each(['model.gguf', 'a/b/c.json', 'tokenizer.model', '.gitattributes', 'modèle.gguf', '模型.gguf', 'a b (1).txt', 'x'.repeat(255), 'console.json'])('are taken when they are plain: %s', (path) => {
    expect(safeJoin(store, path)).toBe(join(store, path));
  });

  it('never lead out of their folder, whatever they are', () => {
    fc.assert(
      fc.property(hostilePath, (path) => {
        if (!isSafePath(path)) return;
        const joined = safeJoin(store, path);
        expect(joined.startsWith(`${store}/`)).toBe(true);
        expect(joined.slice(store.length + 1)).toBe(path);
        expect(path.split('/').every((name) => name !== '' && name !== '..' && name !== '.' && Buffer.byteLength(name) <= 255)).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });

  it('as digests or revisions give a place under the store or none at all', () => {
    fc.assert(
      fc.property(hostilePath, hostilePath, fc.constantFrom('huggingface' as const, 'models_dir' as const), (digest, revision, kind) => {
        const places: string[] = [];
        try {
          const layout = createLayout({ store: kind, hfCacheDir: store, modelsDir: store, instance: '01234567' }, { ref: { source: 'huggingface', name: 'org/name', revision: null }, revision });
          const { blobPath, partPath, lockPath } = layout.place({ path: 'm.gguf', sizeBytes: 1, sha256: digest, gitSha1: null });
          places.push(layout.folder, blobPath, partPath, ...(lockPath === null ? [] : [lockPath]));
        } catch (error) {
          expect((error as Error).message).toMatch(/not checked/);
        }
        for (const place of places) expect(place.startsWith(`${store}/`) && !place.split('/').includes('..')).toBe(true);
      }),
      { numRuns: 5000 },
    );
  });
});
