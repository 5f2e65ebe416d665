import { gzipSync } from 'node:zlib';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { buildSafetensors } from '../../support/safetensors.ts';
import { stateDict } from '../../support/scan/pickles.ts';
import { scanBytes } from '../../support/scan/verdict.ts';
import { buildZip, type ZipMember, type ZipOptions } from '../../support/scan/zip.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

function safetensors(header: string | object, dataBytes = 4): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, Buffer.alloc(dataBytes)]);
}

const tensor = (start: number, end: number, shape: unknown = [end - start], dtype: unknown = 'U8') => ({ dtype, shape, data_offsets: [start, end] });

describe('a safetensors file', () => {
  it('is clean when every byte belongs to one tensor', async () => {
    for (const sound of [buildSafetensors(4096), safetensors({ b: tensor(2, 4, [1], 'F16'), a: tensor(0, 2), __metadata__: { format: 'pt' } }), safetensors({ none: tensor(0, 0, [0, 7]), all: tensor(0, 4, [2, 4], 'F4') }), safetensors({}, 0)]) {
      expect(await scanBytes('model.safetensors', sound)).toMatchObject({ verdict: 'CLEAN' });
    }
  });

  it.each<[string, Buffer]>([
    ['is empty', Buffer.alloc(0)],
    ['ends within its header', safetensors({ a: tensor(0, 4) }).subarray(0, 20)],
    ['has a header of 2^63 bytes', Buffer.concat([Buffer.from([0, 0, 0, 0, 0, 0, 0, 0x80]), Buffer.from('{}')])],
    ['has a blank before its header', safetensors(` ${JSON.stringify({ a: tensor(0, 4) })}`)],
    ['has a header that is no JSON', safetensors('{"a":')],
    ['has a header that is a list', safetensors('[]')],
    ['has a name twice', safetensors(`{"a":${JSON.stringify(tensor(0, 4))},"a":${JSON.stringify(tensor(0, 4))}}`)],
    ['has a name twice within a tensor', safetensors('{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"dtype":"I8"}}')],
    ['has bytes behind its tensors', safetensors({ a: tensor(0, 3) })],
    ['has a gap', safetensors({ a: tensor(0, 1), b: tensor(2, 4) })],
    ['has tensors that lie over each other', safetensors({ a: tensor(0, 3), b: tensor(2, 4) })],
    ['ends within a tensor', safetensors({ a: tensor(0, 5) })],
    ['has a shape that is larger than its bytes', safetensors({ a: tensor(0, 4, [2], 'F32') })],
    ['has a shape that overflows', safetensors({ a: tensor(0, 4, [2 ** 33, 2 ** 33, 4]) })],
    ['has half a number', safetensors({ a: tensor(0, 4, [1.5]) })],
    ['has a negative place', safetensors({ a: tensor(-4, 0, [4]) })],
    ['has a type that is not known', safetensors({ a: tensor(0, 4, [4], 'PICKLE') })],
    ['has a further field', safetensors({ a: { ...tensor(0, 4), code: 1 } })],
    ['has notes that are no texts', safetensors({ a: tensor(0, 4), __metadata__: { x: {} } })],
  ])('is refused when it %s', async (_what, content) => {
    expect(await scanBytes('model.safetensors', content)).toMatchObject({ verdict: 'BLOCKED' });
  });

  it('is sound or refused whatever is changed in it, and never breaks its reader', async () => {
    const sample = safetensors({ a: tensor(0, 2), b: tensor(2, 4, [1], 'F16'), __metadata__: { format: 'pt' } });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }), fc.nat(sample.length), async (changes, end) => {
        const changed = Buffer.from(sample.subarray(0, end));
        for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
        const { verdict } = await scanBytes('model.safetensors', changed);
        if (end < sample.length) expect(verdict).toBe('BLOCKED');
      }),
      { numRuns: 5_000 },
    );
  });
});

const torch: ZipMember[] = [
  { name: 'archive/data.pkl', content: stateDict() },
  { name: 'archive/byteorder', content: 'little' },
  { name: 'archive/data/0', content: Buffer.from([0x80, 2, 0x63, 0x6f]) },
  { name: 'archive/version', content: '3\n' },
  { name: 'archive/.data/serialization_id', content: '123' },
];
const archive = (more: readonly ZipMember[] = [], options: ZipOptions = {}): Buffer => buildZip([...torch, ...more], options);

describe('an archive', () => {
  it('as PyTorch makes it is clean', async () => {
    expect(await scanBytes('pytorch_model.bin', archive())).toMatchObject({ verdict: 'CLEAN', findings: [] });
    expect(await scanBytes('model.pt', buildZip(torch.map((member) => ({ ...member, deflated: true }))))).toMatchObject({ verdict: 'CLEAN' });
  });

  it.each<[string, Buffer, string]>([
    ['has something before it', archive([], { before: Buffer.from('#!/bin/sh\n') }), 'format.code'],
    ['is hidden behind other bytes', Buffer.concat([Buffer.from('PK\u0003\u0004'), archive()]), 'archive.structure'],
    ['has something behind it', archive([], { after: Buffer.from('x') }), 'archive.structure'],
    ['has a second end in its comment', archive([], { comment: `PK\u0005\u0006${'\0'.repeat(18)}` }), 'archive.structure'],
    ['ends too early', archive().subarray(0, -30), 'archive.structure'],
    ['names an entry in two ways', archive([{ name: 'evil.pkl', content: stateDict(), lies: { name: 'good.txt' } }]), 'archive.structure'],
    ['gives an entry two sizes', archive([{ name: 'a.txt', content: 'abc', lies: { sizeBytes: 2 } }]), 'archive.structure'],
    ['packs an entry in two ways', archive([{ name: 'a.txt', content: 'abc', lies: { method: 8 } }]), 'archive.structure'],
    ['has one entry in the place of another', archive([{ name: 'archive/version2', content: '3', lies: { headerOffset: 0 } }]), 'archive.structure'],
    ['leads out of its folder', archive([{ name: '../../.bashrc', content: 'x' }]), 'archive.name'],
    ['leads to the root', archive([{ name: '/etc/passwd', content: 'x' }]), 'archive.name'],
    ['has an entry twice', archive([{ name: 'archive/VERSION', content: '3' }]), 'archive.name'],
    ['has a link', archive([{ name: 'a.txt', content: '/etc/passwd', lies: { mode: 0o120777 } }]), 'archive.link'],
    ['has an encrypted entry', archive([{ name: 'a.txt', content: 'x', lies: { flags: 1 } }]), 'archive.encrypted'],
    ['has an archive in it', archive([{ name: 'more.bin', content: buildZip(torch), deflated: true }]), 'archive.nested'],
    ['has a compressed pickle in it', archive([{ name: 'weights.txt', content: gzipSync(stateDict()) }]), 'archive.nested'],
    ['has a program in it', archive([{ name: 'lib.txt', content: Buffer.from('7f454c46020101', 'hex') }]), 'archive.program'],
    ['would grow without end', buildZip([{ name: 'a.txt', content: Buffer.alloc(8 * 1024 * 1024), deflated: true }]), 'archive.ratio'],
  ])('is refused when it %s', async (_what, content, rule) => {
    const { verdict, rules } = await scanBytes('pytorch_model.bin', content);
    expect(rules).toContain(rule);
    expect(verdict).not.toBe('CLEAN');
    if (rule !== 'format.code') expect(verdict).toBe('BLOCKED');
  });

  it('with code or with what nobody knows is said to have it', async () => {
    expect(await scanBytes('model.pt', archive([{ name: 'archive/code/__torch__.py', content: 'def forward(self): pass' }]))).toMatchObject({ verdict: 'WARN', rules: ['archive.code'] });
    expect(await scanBytes('model.pt', archive([{ name: 'archive/blob', content: 'xyz' }]))).toMatchObject({ verdict: 'NOT_SCANNED', rules: ['archive.member'] });
  });

  it('with changed bytes never breaks its reader', async () => {
    const sample = buildZip(torch.map((member, index) => ({ ...member, deflated: index % 2 === 0 })));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(fc.nat(sample.length - 1), fc.nat(255)), { maxLength: 6 }), fc.nat(sample.length), async (changes, cut) => {
        const changed = Buffer.from(sample.subarray(cut % 3 === 0 ? cut : 0));
        for (const [at, value] of changes) if (at < changed.length) changed[at] = value;
        await scanBytes('model.bin', changed);
      }),
      { numRuns: 3_000 },
    );
  });
});

describe('a file', () => {
  it.each<[string, string, Buffer | string, string]>([
    ['a script that is called a tokenizer', 'tokenizer.json', '#!/bin/sh\nrm -rf /', 'format.content'],
    ['a program that is called weights', 'model.safetensors', Buffer.from('7f454c4602010100', 'hex'), 'format.content'],
    ['a 7z archive that is called a model', 'pytorch_model.bin', Buffer.from('377abcaf271c0004', 'hex'), 'archive.unsupported'],
    ['a compressed pickle', 'model.joblib', Buffer.from('789c4bcc4bcc4bcc', 'hex'), 'archive.unsupported'],
    ['bytes that are called text', 'README.md', Buffer.from('hello\0world'), 'format.content'],
    ['a program that is called a checkpoint', 'model.ckpt', Buffer.from('MZ\u0090\0'.padEnd(64, '\0'), 'latin1'), 'format.content'],
    ['a cut GGUF', 'model.gguf', buildTinyGguf().subarray(0, 9_000), 'gguf.structure'],
  ])('is refused: %s', async (_what, path, content, rule) => {
    expect(await scanBytes(path, content)).toMatchObject({ verdict: 'BLOCKED', findings: expect.arrayContaining([expect.objectContaining({ rule })]) as unknown });
  });

  it('of a format that nobody knows here counts as not looked at', async () => {
    expect(await scanBytes('model.onnx', 'onnx')).toMatchObject({ verdict: 'NOT_SCANNED', rules: ['format.unknown'] });
    expect(await scanBytes('model.bin', 'weights')).toMatchObject({ verdict: 'NOT_SCANNED' });
    expect(await scanBytes('modeling.py', 'import os')).toMatchObject({ verdict: 'WARN', rules: ['format.code'] });
  });

  it('as models have them is clean', async () => {
    expect(await scanBytes('model.gguf', buildTinyGguf())).toMatchObject({ verdict: 'CLEAN' });
    expect(await scanBytes('tokenizer.json', '{"version":"1.0"}')).toMatchObject({ verdict: 'CLEAN' });
    expect(await scanBytes('tokenizer.model', Buffer.from('0a0e0a053c756e6b3e1500000000', 'hex'))).toMatchObject({ verdict: 'CLEAN' });
    expect(await scanBytes('vocab.txt', 'x\u0001 is a control character that some vocabularies have')).toMatchObject({ verdict: 'CLEAN' });
  });
});

describe('a chat template', () => {
  const usual = "{% for message in messages %}{{ '<|im_start|>' + message['role'] }}{% if message.role == 'system' %}You import and open(files){% endif %}{% endfor %}";

  it.each([
    ["{{ ''.__class__.__mro__[1].__subclasses__() }}", 'template.internals'],
    ["{{ (''|attr('x')) }}", 'template.internals'],
    ["{{ lipsum.x['os'].popen('id').read() }}", 'template.internals'],
    ["{{ joiner.__init__ }}", 'template.internals'],
    ["{{ os.system('id') }}", 'template.call'],
    ["{% import 'x' as y %}", 'template.include'],
    ["{%- from 'x' import y -%}", 'template.include'],
    ['{{ self.x }}', 'template.self'],
    ["{{ x['\\x5f\\x5fclass'] }}", 'template.escape'],
    ["{{ x['_' ~ '_class'] }}", 'template.escape'],
  ])('is told of when it does more than it should: %s', async (template, rule) => {
    for (const [path, content] of [
      ['model.gguf', buildTinyGguf({ chatTemplate: template })],
      ['tokenizer_config.json', JSON.stringify({ chat_template: template })],
      ['tokenizer_config.json', JSON.stringify({ chat_template: [{ name: 'default', template: usual }, { name: 'tool_use', template }] })],
      ['chat_template.jinja', template],
    ] as const) {
      const { verdict, rules } = await scanBytes(path, content);
      expect({ path, verdict, rules }).toEqual({ path, verdict: 'WARN', rules: expect.arrayContaining([rule]) as unknown });
    }
  });

  it('that does what all do is clean, whatever its text speaks of', async () => {
    expect(await scanBytes('model.gguf', buildTinyGguf({ chatTemplate: usual }))).toMatchObject({ verdict: 'CLEAN' });
    expect(await scanBytes('tokenizer_config.json', JSON.stringify({ chat_template: usual, auto_map: null }).replace(',"auto_map":null', ''))).toMatchObject({ verdict: 'CLEAN' });
  });

  it('is not all that is told of: code that comes with the model is, too', async () => {
    expect(await scanBytes('config.json', JSON.stringify({ auto_map: { AutoModel: 'modeling.X' } }))).toMatchObject({ verdict: 'WARN', rules: ['config.remote_code'] });
  });
});
