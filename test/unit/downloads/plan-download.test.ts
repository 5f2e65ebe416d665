import { describe, expect, it } from '@jest/globals';
import type { ModelDetail, ModelFile, ModelVariant } from '../../../src/domains/catalog/types.ts';
import { filesKeyOf, patternFaults, planDownload, type Selection } from '../../../src/domains/downloads/planning/plan-download.ts';

function file(path: string, sizeBytes = 100, more: Partial<ModelFile> = {}): ModelFile {
  const format = path.endsWith('.gguf') ? 'gguf' : path.endsWith('.safetensors') ? 'safetensors' : path.endsWith('.bin') ? 'pytorch' : 'other';
  return { path, sizeBytes, sha256: `sha256:${'a'.repeat(64)}`, gitSha1: null, format, securityStatus: 'safe', ...more };
}

function variant(name: string, files: readonly string[], more: Partial<ModelVariant> = {}): ModelVariant {
  return { name, format: 'gguf', quantization: name, files, sizeBytes: 100 * files.length, fit: null, recommended: false, ...more };
}

function detail(files: readonly ModelFile[], variants: readonly ModelVariant[]): ModelDetail {
  return {
    id: 'huggingface:acme/model', source: 'huggingface', name: 'acme/model', author: 'acme', displayName: 'model', description: null, category: null, tags: [],
    license: null, parameters: null, sizeBytes: null, formats: [], quantizations: [], contextLength: null, downloads: null, likes: null, gated: false,
    createdAt: null, updatedAt: null, url: null, revision: 'c'.repeat(40), readmeMarkdown: null, readmeText: null, architecture: null, files, variants, securityStatus: null,
  };
}

const model = detail(
  [
    file('m-Q4_K_M.gguf', 4000), file('big/m-Q8_0-00001-of-00002.gguf', 5000), file('big/m-Q8_0-00002-of-00002.gguf', 5000), file('mmproj-m-f16.gguf', 900), file('mmproj-m-bf16.gguf', 900),
    file('mmproj-m-f32.gguf', 1800), file('README.md', 10), file('LICENSE', 11), file('config.json', 12), file('tokenizer.json', 13), file('chat_template.jinja', 14), file('imatrix.dat', 15),
    file('modeling_m.py', 16), file('pytorch_model.bin', 3000), file('images/logo.png', 20),
  ],
  [variant('Q4_K_M', ['m-Q4_K_M.gguf'], { recommended: true }), variant('Q8_0', ['big/m-Q8_0-00001-of-00002.gguf', 'big/m-Q8_0-00002-of-00002.gguf']), variant('pytorch', ['pytorch_model.bin'], { format: 'pytorch', quantization: null })],
);
const nothing: Selection = { variant: null, include: null, exclude: null, override: [] };
const plan = (selection: Partial<Selection>, of = model) => planDownload(of, { ...nothing, ...selection });
const paths = (selection: Partial<Selection>, of = model) => plan(selection, of).files.map(({ path }) => path).sort();
const small = ['LICENSE', 'README.md', 'chat_template.jinja', 'config.json', 'tokenizer.json'];

describe('a plan', () => {
  it('takes the recommended variant with its image encoder and the small files that belong to it', () => {
    expect(paths({})).toEqual([...small, 'm-Q4_K_M.gguf', 'mmproj-m-f16.gguf'].sort());
    expect(plan({})).toMatchObject({ variant: 'Q4_K_M', variantKey: 'Q4_K_M', quantization: 'Q4_K_M', format: 'gguf', revision: 'c'.repeat(40), totalBytes: 4960 });
  });

  it('puts small files first and the weights last', () => {
    expect(plan({}).files.at(-1)?.path).toBe('m-Q4_K_M.gguf');
    expect(plan({}).files[0]?.path).toBe('README.md');
  });

  it('takes all shards of a variant, also when only one is named', () => {
    expect(paths({ variant: 'q8_0' })).toEqual(expect.arrayContaining(['big/m-Q8_0-00001-of-00002.gguf', 'big/m-Q8_0-00002-of-00002.gguf']));
    expect(paths({ include: ['*00001-of*'] })).toEqual(['big/m-Q8_0-00001-of-00002.gguf', 'big/m-Q8_0-00002-of-00002.gguf']);
  });

  it('refuses a part of split weights whose other parts are missing at the source, also when it is asked for by name, and says which', () => {
    const shards = ['h-00001-of-00003.gguf', 'h-00003-of-00003.gguf'];
    const half = detail([...shards.map((path) => file(path)), file('m-Q4_K_M.gguf')], [variant('Q8_0', shards, { recommended: true }), variant('Q4_K_M', ['m-Q4_K_M.gguf'])]);
    for (const selection of [{}, { variant: 'Q8_0' }, { include: ['h-00001*'] }, { include: ['**'] }]) {
      expect(() => plan(selection, half)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MODEL', message: expect.stringContaining('h-00002-of-00003.gguf is missing there'), details: { missing: ['h-00002-of-00003.gguf'] } }));
    }
    expect(paths({ variant: 'Q4_K_M' }, half)).toEqual(['m-Q4_K_M.gguf']);
    expect(paths({ include: ['m-*'] }, half)).toEqual(['m-Q4_K_M.gguf']);
    // The catalogue makes no variant of them.
    expect(() => plan({}, { ...half, files: half.files.slice(0, 2), variants: [] })).toThrow(expect.objectContaining({ message: expect.stringContaining('h-00002-of-00003.gguf is missing there') }));
    const fromZero = detail([file('z-00000-of-00002.safetensors'), file('z-00001-of-00002.safetensors')], []);
    expect(paths({ include: ['*'] }, fromZero)).toHaveLength(2);
    const absurd = detail([file('h-00001-of-99999.gguf')], []);
    expect(() => plan({ include: ['*'] }, absurd)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MODEL' }));
  });

  it('refuses to leave out a part of split weights of which it takes others', () => {
    for (const selection of [{ variant: 'Q8_0', exclude: ['*00002-of*'] }, { include: ['big/*'], exclude: ['*00001-of*'] }]) {
      expect(() => plan(selection)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED', details: { fields: [expect.objectContaining({ field: 'exclude' })] } }));
    }
    expect(paths({ include: ['big/*', '*.md'], exclude: ['*.gguf'] })).toEqual(['README.md']);
  });

  it('takes just the files that match, less those that are excluded', () => {
    expect(paths({ include: ['*.json', '*.md'], exclude: ['config*'] })).toEqual(['README.md', 'tokenizer.json']);
    expect(paths({ variant: 'Q4_K_M', exclude: ['*mmproj*'] })).toEqual([...small, 'm-Q4_K_M.gguf'].sort());
    expect(paths({ variant: 'Q4_K_M', include: ['*mmproj*f32*'] })).toContain('mmproj-m-f32.gguf');
  });

  it('names equal selections equally, and others differently', () => {
    const key = (selection: Partial<Selection>): string => filesKeyOf('m', plan(selection), 'local');
    expect(key({ variant: 'Q4_K_M' })).toBe(key({}));
    expect(key({ variant: 'Q8_0' })).not.toBe(key({}));
    expect(plan({ include: ['*.json'] }).variantKey).not.toBe(plan({ include: ['*.md'] }).variantKey);
  });

  it('takes the smallest safe variant where none is recommended, and says so where there is none', () => {
    const variants = model.variants.map((one) => ({ ...one, recommended: false }));
    expect(plan({}, { ...model, variants }).variant).toBe('Q4_K_M');
    expect(() => plan({}, { ...model, variants: variants.slice(2) })).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MODEL' }));
  });
});

describe('a plan is refused', () => {
  const code = (selection: Partial<Selection>, of = model): unknown => {
    try {
      return paths(selection, of);
    } catch (error) {
      return (error as { code: string }).code;
    }
  };

  it('for formats that can carry code, unless the rule is set aside', () => {
    expect(code({ variant: 'pytorch' })).toBe('UNSAFE_FILE');
    expect(code({ include: ['*.py'] })).toBe('UNSAFE_FILE');
    expect(code({ include: ['*.py'], override: ['unsafe_format'] })).toEqual(['modeling_m.py']);
    expect(code({ exclude: ['*.gguf'] })).toBe('UNSAFE_FILE');
  });

  it('for what the source itself calls unsafe, unless the rule is set aside', () => {
    const flagged = detail([file('x.gguf', 5, { securityStatus: 'unsafe' })], []);
    expect(code({ include: ['*'] }, flagged)).toBe('UNSAFE_FILE');
    expect(code({ include: ['*'], override: ['scan'] }, flagged)).toEqual(['x.gguf']);
  });

  it.each(['../x.gguf', '/etc/x.gguf', 'a/../../x.gguf', 'CON.gguf'])('for a hostile name, whatever is set aside: %s', (path) => {
    expect(code({ include: ['**'], override: ['unsafe_format', 'scan'] }, detail([file(path)], []))).toBe('UNSAFE_FILE');
  });

  it('for names that would have one place on the disk', () => {
    expect(code({ include: ['*'] }, detail([file('A.json'), file('a.json')], []))).toBe('UNSAFE_FILE');
    expect(code({ include: ['**'] }, detail([file('a.json'), file('a.json/b.json')], []))).toBe('UNSAFE_FILE');
  });

  it('for a digest that is none', () => {
    expect(code({ include: ['*'] }, detail([file('a.json', 1, { sha256: 'sha256:../../../../etc/passwd' })], []))).toBe('UNSAFE_FILE');
  });

  it('for a variant that is not there and for patterns that leave nothing', () => {
    expect(code({ variant: 'Q2_K' })).toBe('VALIDATION_FAILED');
    expect(code({ include: ['*.nothing'] })).toBe('VALIDATION_FAILED');
    expect(patternFaults('include', ['ok', '[x'])).toEqual([{ field: 'include.1', message: 'is not a glob pattern' }]);
    expect(patternFaults('exclude', Array.from({ length: 65 }, () => '*'))).toHaveLength(1);
  });
});
