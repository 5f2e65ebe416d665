import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { recommendedOf } from '../../../src/domains/catalog/fit.ts';
import { formatOfPath } from '../../../src/domains/catalog/file-path.ts';
import { parseGgufPath, quantizationIn } from '../../../src/domains/catalog/quantization.ts';
import type { FitVerdict, ModelFile } from '../../../src/domains/catalog/types.ts';
import { variantsOf } from '../../../src/domains/catalog/variants.ts';

const fileOf = (path: string, sizeBytes = 100): ModelFile => ({ path, sizeBytes, sha256: null, gitSha1: null, format: formatOfPath(path), securityStatus: null });
const namesOf = (paths: readonly string[]): string[] => variantsOf(paths.map((path) => fileOf(path))).map(({ name }) => name);

describe('quantisation labels', () => {
  it.each([
    ['Llama-3.2-1B-Instruct-Q4_K_M.gguf', 'Q4_K_M'],
    ['qwen2.5-0.5b-instruct-q8_0.gguf', 'Q8_0'],
    ['model.IQ2_XXS.gguf', 'IQ2_XXS'],
    ['model-IQ4_NL.gguf', 'IQ4_NL'],
    ['model-UD-Q4_K_XL.gguf', 'UD-Q4_K_XL'],
    ['model-UD-IQ1_S.gguf', 'UD-IQ1_S'],
    ['model-Q4_0_4_8.gguf', 'Q4_0_4_8'],
    ['model-Q6_K.gguf', 'Q6_K'],
    ['model-TQ1_0.gguf', 'TQ1_0'],
    ['gpt-oss-20b-mxfp4.gguf', 'MXFP4'],
    ['model.fp16.gguf', 'F16'],
    ['model-BF16-00001-of-00002.gguf', 'BF16'],
    ['Q8_0/model-00001-of-00003.gguf', 'Q8_0'],
    ['Q8_0/model-Q4_K_M.gguf', 'Q4_K_M'],
    ['model.gguf', null],
    ['Q4_Kurious.gguf', null],
  ])('reads %s as %s', (path, label) => {
    expect(parseGgufPath(path).quantization).toBe(label);
  });

  it('stays quick on names made to be slow', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom('Q4_', 'UD-', '-', '_K', '.', 'I', 'Q', '00001-of-'), { maxLength: 4000 }), (parts) => void quantizationIn(parts.join(''))), { numRuns: 20 });
  });
});

describe('variantsOf', () => {
  it('takes the shards of one quantisation together, in order', () => {
    const variants = variantsOf([fileOf('m-Q8_0-00002-of-00002.gguf', 5), fileOf('m-Q8_0-00001-of-00002.gguf', 7), fileOf('m-Q4_K_M.gguf', 3)]);
    expect(variants).toEqual([
      { name: 'Q4_K_M', format: 'gguf', quantization: 'Q4_K_M', files: ['m-Q4_K_M.gguf'], sizeBytes: 3 },
      { name: 'Q8_0', format: 'gguf', quantization: 'Q8_0', files: ['m-Q8_0-00001-of-00002.gguf', 'm-Q8_0-00002-of-00002.gguf'], sizeBytes: 12 },
    ]);
  });

  it('offers no set of shards that is not whole', () => {
    expect(namesOf(['m-Q8_0-00001-of-00003.gguf', 'm-Q8_0-00003-of-00003.gguf'])).toEqual([]);
    expect(namesOf(['m-Q8_0-00001-of-00002.gguf', 'm-Q8_0-00001-of-00002.GGUF'])).toEqual([]);
  });

  it('takes neither projectors nor importance matrices for models', () => {
    expect(namesOf(['mmproj-model-f16.gguf', 'model-mmproj-Q8_0.gguf', 'model.imatrix.gguf', 'model-Q4_0.gguf'])).toEqual(['Q4_0']);
  });

  it('tells two models of one repository apart by their paths', () => {
    expect(namesOf(['a-Q4_0.gguf', 'b-Q4_0.gguf', 'plain.gguf'])).toEqual(['a-Q4_0', 'b-Q4_0', 'plain']);
  });

  it('takes a repository of safetensors as a whole, without the second copy', () => {
    const variants = variantsOf([fileOf('model-00001-of-00002.safetensors'), fileOf('model-00002-of-00002.safetensors'), fileOf('consolidated.safetensors'), fileOf('onnx/model.onnx')]);
    expect(variants.map(({ name, files }) => [name, files.length])).toEqual([['safetensors', 2], ['onnx', 1]]);
  });

  it('gives every variant a name of its own, and only files that are there', () => {
    const name = fc.tuple(fc.constantFrom('', 'a/', 'b/'), fc.constantFrom('m', 'n', 'mmproj'), fc.constantFrom('', '-Q4_0', '-Q8_0', '.f16'), fc.constantFrom('', '-00001-of-00002', '-00002-of-00002'), fc.constantFrom('.gguf', '.safetensors', '.bin'));
    fc.assert(
      fc.property(fc.uniqueArray(name.map((parts) => parts.join('')), { maxLength: 30 }), (paths) => {
        const variants = variantsOf(paths.map((path) => fileOf(path)));
        expect(new Set(variants.map((variant) => variant.name)).size).toBe(variants.length);
        const used = variants.flatMap(({ files }) => files);
        expect(new Set(used).size).toBe(used.length);
        expect(used.every((path) => paths.includes(path))).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('recommendedOf', () => {
  const candidate = (quantization: string | null, verdict: FitVerdict, sizeBytes: number, format: 'gguf' | 'safetensors' | 'pytorch' = 'gguf') => ({
    name: quantization ?? format, format, quantization, files: ['x'], sizeBytes,
    fit: { verdict, contextSize: 1, weightsBytes: 1, kvCacheBytes: null, overheadBytes: 0, neededBytes: 1, availableBytes: 1, maxContextSize: null, reason: '' },
  });

  it.each([
    ['the usual one although more bits would fit', [['Q4_K_M', 'fits', 4], ['Q5_K_M', 'fits', 5], ['Q8_0', 'fits', 8]], 'Q4_K_M'],
    ['one that fits before a better one that is tight', [['Q4_K_M', 'fits', 4], ['Q5_K_M', 'tight', 5]], 'Q4_K_M'],
    ['a coarser one when the usual do not fit', [['Q2_K', 'fits', 2], ['Q3_K_M', 'fits', 3], ['Q4_K_M', 'does_not_fit', 4]], 'Q3_K_M'],
    ['one that is tight when none fits', [['Q2_K', 'tight', 2], ['Q4_K_M', 'does_not_fit', 4]], 'Q2_K'],
    ['the smallest when none fits at all', [['Q4_K_M', 'does_not_fit', 4], ['Q2_K', 'does_not_fit', 2]], 'Q2_K'],
    ['eight bits before sixteen', [['F16', 'fits', 16], ['Q8_0', 'fits', 8]], 'Q8_0'],
  ] as const)('takes %s', (_what, given, expected) => {
    expect(recommendedOf(given.map(([label, verdict, size]) => candidate(label, verdict, size)))?.name).toBe(expected);
  });

  it('takes a whole repository only where there is no GGUF, and pickles never', () => {
    expect(recommendedOf([candidate(null, 'fits', 1, 'safetensors'), candidate('Q4_0', 'does_not_fit', 9)])?.name).toBe('Q4_0');
    expect(recommendedOf([candidate(null, 'fits', 1, 'pytorch'), candidate(null, 'does_not_fit', 9, 'safetensors')])?.name).toBe('safetensors');
    expect(recommendedOf([candidate(null, 'fits', 1, 'pytorch')])).toBeNull();
  });
});
