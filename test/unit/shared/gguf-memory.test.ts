import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { GgufHeader } from '../../../src/shared/gguf/header.ts';
import { estimateMemory, maxContextThatFits } from '../../../src/shared/gguf/memory.ts';

const megabytes = 1_000_000;

/** 222 million parameters as Q8_0, whose resident size was measured with several contexts. */
const measured: GgufHeader = {
  version: 3,
  architecture: 'llama',
  name: null,
  parameterCount: 222_000_000,
  contextLength: 8_192,
  embeddingLength: 1_024,
  blockCount: 16,
  headCount: 16,
  headCountKv: 8,
  headCountKvTotal: 128,
  keyLength: null,
  valueLength: null,
  vocabularySize: 16_384,
  fileType: 7,
  quantization: 'Q8_0',
  chatTemplate: null,
  chatTemplates: [],
  tensorCount: 147,
  tensorBytes: 236 * megabytes,
  splitCount: 1,
};
const fileBytes = 237 * megabytes;

describe('estimateMemory', () => {
  it.each([
    ['one context of 1,024 tokens', 1_024, 1, 56],
    ['four contexts of 4,096 tokens', 4_096, 4, 539],
  ])('is above what was measured with %s, by less than a tenth and 60 MB', (_what, contextSize, parallel, contextMegabytes) => {
    const { weightsBytes, kvCacheBytes, overheadBytes, totalBytes } = estimateMemory({ header: measured, fileBytes, contextSize, parallel });
    expect(totalBytes).toBe(weightsBytes + kvCacheBytes + overheadBytes);
    const total = (120 + 241 + contextMegabytes) * megabytes;
    expect(totalBytes).toBeGreaterThanOrEqual(total);
    expect(totalBytes).toBeLessThan(total * 1.1 + 60 * megabytes);
  });

  it('takes key and value lengths from the header when it has them', () => {
    const header = { ...measured, keyLength: 192, valueLength: 128 };
    expect(estimateMemory({ header, fileBytes, contextSize: 1_024, parallel: 1 }).kvCacheBytes).toBe(1_024 * 128 * (192 + 128) * 2);
  });

  it('answers for a header that tells nothing but its tensors', () => {
    const header = { ...measured, headCountKvTotal: null, headCount: null, embeddingLength: null, vocabularySize: null };
    expect(estimateMemory({ header, fileBytes, contextSize: 1_024, parallel: 1 })).toMatchObject({ weightsBytes: fileBytes, kvCacheBytes: 0 });
  });
});

describe('maxContextThatFits', () => {
  it('is the longest that fits and never longer than the model was trained for', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 4_000 * megabytes }), fc.integer({ min: 1, max: 8 }), (availableBytes, parallel) => {
        const context = maxContextThatFits({ header: measured, fileBytes, parallel, availableBytes });
        const totalOf = (contextSize: number): number => estimateMemory({ header: measured, fileBytes, contextSize, parallel }).totalBytes;
        expect(context).toBeLessThanOrEqual(8_192);
        if (context > 0) expect(totalOf(context)).toBeLessThanOrEqual(availableBytes);
        if (context < 8_192) expect(totalOf(context + 256)).toBeGreaterThan(availableBytes);
      }),
    );
  });

  it('is none when not even the weights fit', () => {
    expect(maxContextThatFits({ header: measured, fileBytes, parallel: 1, availableBytes: 100 * megabytes })).toBe(0);
  });
});
