import { describe, expect, it } from '@jest/globals';
import { estimateMemory } from '../../../src/shared/gguf/memory.ts';
import { readConfigFigures } from '../../../src/shared/safetensors/figures.ts';
import { readSafetensorsHeader, SafetensorsError } from '../../../src/shared/safetensors/header.ts';
import { safetensorsOf } from '../../support/safetensors.ts';

const read = (file: Buffer, size = file.length): ReturnType<typeof readSafetensorsHeader> =>
  readSafetensorsHeader({ size, readAt: (offset, length) => Promise.resolve(file.subarray(offset, offset + length)) });

describe('the header of a safetensors file', () => {
  it('tells how many bytes the weights have and take when they are loaded, wide floats as halves, packed ones as they are', async () => {
    const file = safetensorsOf({ a: { dtype: 'F32', shape: [10, 10] }, b: { dtype: 'BF16', shape: [3] }, c: { dtype: 'I32', shape: [5] } });
    expect(await read(file)).toEqual({ tensorBytes: 426, loadedBytes: 226, dtype: 'F32' });
    expect(await read(safetensorsOf({}))).toEqual({ tensorBytes: 0, loadedBytes: 0, dtype: null });
  });

  it('is refused where it is cut, no JSON, longer than any, of unknown types, or tells of more bytes than there are', async () => {
    const file = safetensorsOf({ a: { dtype: 'F32', shape: [10] } });
    const text = (header: string): Buffer => Buffer.concat([Buffer.from(new BigUint64Array([BigInt(header.length)]).buffer), Buffer.from(header)]);
    const huge = Buffer.from(new BigUint64Array([2n ** 63n]).buffer);
    const tensor = (about: object): Buffer => text(JSON.stringify({ a: about }));
    const bad = [file.subarray(0, 5), file.subarray(0, 40), huge, text('[1]'), text('{"a":'), tensor({ dtype: 'X9', shape: [1] }), tensor({ dtype: 'F32', shape: [-1] }), tensor({ dtype: 'F32', shape: [2 ** 52, 2 ** 52] }), tensor({})];
    for (const bytes of bad) await expect(read(bytes, 1_000_000)).rejects.toThrow(SafetensorsError);
  });
});

describe('a config.json', () => {
  const llama = { model_type: 'llama', num_hidden_layers: 32, num_attention_heads: 32, num_key_value_heads: 8, hidden_size: 4096, vocab_size: 128_256, max_position_embeddings: 131_072 };
  const cacheOf = (config: object): number => {
    const figures = readConfigFigures(JSON.stringify(config));
    if (figures === null) throw new Error('no figures');
    return estimateMemory({ header: figures, fileBytes: 0, contextSize: 1024, parallel: 1 }).kvCacheBytes / 1024;
  };

  it('tells what a token of the conversation costs: heads for keys and values, their length given or told by the width', () => {
    // 32 layers x 8 heads x 128 x 2 (keys, values) x 2 bytes, as Meta says of Llama 3.
    expect(cacheOf(llama)).toBe(131_072);
    expect(cacheOf({ ...llama, head_dim: 64 })).toBe(65_536);
    expect(cacheOf({ ...llama, num_key_value_heads: undefined })).toBe(524_288);
  });

  it('is understood in older names, for models that see, for latent attention and for layers that keep nothing', () => {
    expect(cacheOf({ n_layer: 12, n_head: 12, n_embd: 768 })).toBe(36_864);
    expect(cacheOf({ model_type: 'gemma3', text_config: llama })).toBe(131_072);
    // DeepSeek-V3: 61 layers of one row of 512 + 64.
    expect(cacheOf({ num_hidden_layers: 61, num_attention_heads: 128, kv_lora_rank: 512, qk_rope_head_dim: 64 })).toBe(61 * 576 * 2);
    expect(cacheOf({ ...llama, layer_types: ['linear_attention', 'linear_attention', 'full_attention'] })).toBe(4096);
  });

  it('tells nothing where it is no object, and leaves out figures that none can be', () => {
    for (const text of ['', '[]', 'null', '{"a":']) expect(readConfigFigures(text)).toBeNull();
    expect(readConfigFigures('{"num_hidden_layers":1e99,"hidden_size":-1,"vocab_size":"x","model_type":7}')).toMatchObject({ headCountKvTotal: null, embeddingLength: null, vocabularySize: null, architecture: null });
  });
});
