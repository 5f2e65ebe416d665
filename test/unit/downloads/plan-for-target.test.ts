import { describe, expect, it } from '@jest/globals';
import type { ModelFile } from '../../../src/domains/catalog/types.ts';
import { variantsOf } from '../../../src/domains/catalog/variants.ts';
import { planForTarget } from '../../../src/domains/downloads/planning/plan-for-target.ts';
import { createOllamaStore } from '../../../src/domains/downloads/transfer/ollama-pull.ts';

const file = (path: string, sizeBytes = 10): ModelFile => ({ path, sizeBytes, sha256: `sha256:${'a'.repeat(64)}`, gitSha1: null, format: path.endsWith('.gguf') ? 'gguf' : path.endsWith('.safetensors') ? 'safetensors' : 'other', securityStatus: null });
const ref = { source: 'huggingface', name: 'acme/tiny-GGUF', revision: null };

function plan(files: readonly ModelFile[], variant: string) {
  const variants = variantsOf(files).map((found) => ({ ...found, recommended: false }));
  return planForTarget({ revision: 'abc', files, variants }, { variant, include: null, exclude: null, override: [] }, { target: 'ollama', ref });
}

describe('a plan for an Ollama server', () => {
  it('takes the weights and the image encoder, and leaves cards and configurations behind', () => {
    const { files, totalBytes } = plan([file('a.Q4_K_M.gguf', 30), file('mmproj-F16.gguf', 5), file('README.md'), file('config.json')], 'Q4_K_M');
    expect([files.map(({ path }) => path), totalBytes]).toEqual([['mmproj-F16.gguf', 'a.Q4_K_M.gguf'], 35]);
  });

  it.each([
    ['a split model', [file('a.Q4_K_M-00001-of-00002.gguf'), file('a.Q4_K_M-00002-of-00002.gguf')], 'Q4_K_M'],
    ['safetensors', [file('model.safetensors')], 'safetensors'],
  ])('refuses %s, which it cannot pull', (_what, files, variant) => {
    expect(() => plan(files, variant)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED_MODEL' }));
  });
});

describe('the name of a model at an Ollama server', () => {
  const store = (registryEndpoint: string, hubEndpoint = 'https://huggingface.co') => createOllamaStore({ host: 'http://127.0.0.1:9', fetch, registryEndpoint, hubEndpoint });
  const own = store('https://registry.ollama.ai');

  it.each([
    [own, { source: 'ollama', name: 'smollm2', revision: '135m' }, null, 'smollm2:135m'],
    [own, { source: 'ollama', name: 'someone/tiny', revision: null }, null, 'someone/tiny:latest'],
    [store('http://mirror:5000'), { source: 'ollama', name: 'smollm2', revision: null }, null, 'mirror:5000/library/smollm2:latest'],
    [own, ref, 'Q4_K_M', 'hf.co/acme/tiny-GGUF:Q4_K_M'],
    [store('https://registry.ollama.ai', 'https://mirror.example'), ref, 'Q8_0', 'mirror.example/acme/tiny-GGUF:Q8_0'],
    [own, ref, null, null],
    [own, { source: 'local', name: 'mine', revision: null }, 'Q8_0', null],
  ] as const)('is its own where it has one (%#)', (ollama, model, quantization, name) => {
    expect(ollama.nameOf({ ref: model, quantization })).toBe(name);
  });
});
