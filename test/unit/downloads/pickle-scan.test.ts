import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { dangerous, forms, oldTorchFile, op, padding, stateDict } from '../../support/scan/pickles.ts';
import { scanBytes } from '../../support/scan/verdict.ts';
import { buildZip } from '../../support/scan/zip.ts';

const form = fc.constantFrom(...Object.values(forms));
const target = fc.constantFrom(...dangerous);
const harmful = fc.tuple(form, target).map(([make, imported]) => make(imported));
const names = fc.constantFrom('pytorch_model.bin', 'model.pt', 'model.pth', 'model.ckpt', 'data.pkl', 'x.pickle', 'a.joblib');

describe('a pickle', () => {
  it.each(Object.entries(forms))('that harms is refused however it does it: %s', async (_name, make) => {
    for (const imported of dangerous) {
      const { verdict } = await scanBytes('pytorch_model.bin', make(imported));
      expect({ ...imported, verdict }).toEqual({ ...imported, verdict: 'BLOCKED' });
    }
  });

  it('of tensors is clean, in the new form and in the old', async () => {
    expect(await scanBytes('data.pkl', stateDict())).toMatchObject({ verdict: 'CLEAN', findings: [] });
    expect(await scanBytes('pytorch_model.bin', oldTorchFile(stateDict()))).toMatchObject({ verdict: 'CLEAN' });
    expect(await scanBytes('data.pkl', Buffer.from('(dp0\nVa\np1\nI1\nsS\'b\'\np2\nF1.5\ns.'))).toMatchObject({ verdict: 'CLEAN' });
  });

  it.each([
    ['in the object of an old PyTorch file', oldTorchFile(forms['protocol 2, GLOBAL and REDUCE']?.({ module: 'os', name: 'system' }) ?? Buffer.alloc(0)), 'pickle.global'],
    ['under a number', Buffer.concat([op.proto(2), op.ext1(1), op.emptyTuple, op.reduce, op.stop]), 'pickle.extension'],
    ['under a name that is made as it goes', Buffer.concat([op.proto(4), op.none, op.binUnicode('system'), op.stackGlobal, op.stop]), 'pickle.global'],
    ['under a name with escapes', Buffer.concat([op.proto(4), op.unicode('\\u006fs'), op.unicode('system'), op.stackGlobal, op.stop]), 'pickle.global'],
    ['by a place in the memory that other readers take', Buffer.concat([op.proto(4), op.binUnicode('collections'), op.put('1'), op.binUnicode('os'), op.put('0x2'), op.stop]), 'pickle.malformed'],
    ['by changing a class for all', Buffer.concat([op.proto(2), op.global('collections', 'OrderedDict'), op.mark, op.binUnicode('__init__'), op.none, op.setItems, op.stop]), 'pickle.patch'],
    ['by calling what it has not imported', Buffer.concat([op.proto(2), op.binUnicode('x'), op.emptyTuple, op.reduce, op.stop]), 'pickle.call'],
    ['by a reference to the outside', Buffer.concat([op.persistentId('http://x'), op.stop]), 'pickle.persistent_id'],
    ['by bytes that are not in it', Buffer.concat([op.proto(5), Buffer.from([0x97]), op.stop]), 'pickle.buffer'],
  ])('is refused %s', async (_name, content, rule) => {
    expect(await scanBytes('model.pkl', content)).toMatchObject({ verdict: 'BLOCKED', findings: [{ rule }] });
  });

  it.each(['model.safetensors', 'model.gguf', 'config.json', 'tokenizer.model', 'README.md', 'vocab.txt', 'LICENSE', 'chat_template.jinja'])('is refused under the name %s', async (name) => {
    for (const make of Object.values(forms)) {
      // Those that only import are texts that say nothing to any program under such a name.
      const content = make({ module: 'os', name: 'system' });
      expect((await scanBytes(name, content)).verdict).toBe('BLOCKED');
    }
  });

  it('is not seen in prose', async () => {
    for (const text of ['chat model\n\nPlease read this.', 'int main\nvoid\n(1) one', 'c\nb\n.ok', 'Some text.', '(a) first\n(b) second.', '']) {
      expect({ text, ...(await scanBytes('README.md', text)) }).toMatchObject({ text, verdict: text === 'c\nb\n.ok' ? 'BLOCKED' : 'CLEAN' });
    }
  });

  it('that harms is never called clean, whatever is put around it', async () => {
    await fc.assert(
      fc.asyncProperty(harmful, names, fc.array(fc.constantFrom(...padding), { maxLength: 12 }), async (content, name, around) => {
        expect((await scanBytes(name, Buffer.concat([op.proto(2), ...around, content]))).verdict).not.toBe('CLEAN');
      }),
      { numRuns: 4_000 },
    );
  });

  it('that harms is never called clean in an archive', async () => {
    const member = fc.constantFrom('archive/data.pkl', 'data.pkl', 'archive/x.txt', 'archive/weights', 'm.json', 'archive/data/0.pkl', 'a/b/c.data');
    await fc.assert(
      fc.asyncProperty(harmful, member, fc.boolean(), fc.constantFrom('model.pt', 'pytorch_model.bin', 'model.npz', 'model.zip', 'x.keras'), async (content, name, deflated, file) => {
        const marked = Buffer.concat([op.proto(2), content]);
        const archive = buildZip([{ name: 'archive/version', content: '3' }, { name, content: marked, deflated }]);
        expect((await scanBytes(file, archive)).verdict).not.toBe('CLEAN');
      }),
      { numRuns: 1_000 },
    );
  });

  it('of noise or with changed bytes never crashes the reader', async () => {
    const sample = Buffer.concat([stateDict(), oldTorchFile(stateDict())]);
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 8 }), fc.nat(sample.length), async (changes, end) => {
        const changed = Buffer.from(sample.subarray(0, end));
        for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
        await scanBytes('model.bin', changed);
      }),
      { numRuns: 5_000 },
    );
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 400 }), async (noise) => {
        await scanBytes('model.pkl', Buffer.from(noise));
      }), { numRuns: 3_000 });
  });
});
