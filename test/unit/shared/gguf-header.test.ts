import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import type { ByteSource } from '../../../src/shared/gguf/byte-cursor.ts';
import { GgufError } from '../../../src/shared/gguf/errors.ts';
import { readGgufHeader } from '../../../src/shared/gguf/header.ts';
import type { GgufHeader } from '../../../src/shared/gguf/header.ts';
import { buildTinyGguf, chatMlTemplate } from '../../support/tiny-gguf.ts';

const tiny = buildTinyGguf();

function sourceOf(bytes: Uint8Array, size = bytes.length): ByteSource & { bytesRead: number } {
  const source = {
    size,
    bytesRead: 0,
    readAt: async (offset: number, length: number): Promise<Uint8Array> => {
      const part = bytes.subarray(offset, offset + length);
      source.bytesRead += part.length;
      return part;
    },
  };
  return source;
}

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: bigint | number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string): Buffer => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);
const textKey = (key: string, value: string): Buffer => Buffer.concat([text(key), u32(8), text(value)]);
const numberKey = (key: string, value: number): Buffer => Buffer.concat([text(key), u32(4), u32(value)]);
const architecture = textKey('general.architecture', 'llama');
type TensorOptions = { name?: string; dimensions?: (number | bigint)[]; type?: number; offset?: number | bigint };
const tensor = ({ name = 't', dimensions = [32], type = 0, offset = 0 }: TensorOptions): Buffer =>
  Buffer.concat([text(name), u32(dimensions.length), ...dimensions.map(u64), u32(type), u64(offset)]);

type Parts = { version?: number; keys?: Buffer[]; keyCount?: number | bigint; tensors?: Buffer[]; tensorCount?: number | bigint; dataBytes?: number };

function gguf({ version = 3, keys = [architecture], keyCount = keys.length, tensors = [], tensorCount = tensors.length, dataBytes = 4_096 }: Parts): Buffer {
  return Buffer.concat([Buffer.from('GGUF'), u32(version), u64(tensorCount), u64(keyCount), ...keys, ...tensors, Buffer.alloc(dataBytes)]);
}

async function codeOf(bytes: Uint8Array, size?: number): Promise<string> {
  try {
    await readGgufHeader(sourceOf(bytes, size));
    return 'accepted';
  } catch (error) {
    if (error instanceof GgufError) return error.code;
    throw error;
  }
}

describe('readGgufHeader', () => {
  it('tells what a model is', async () => {
    expect(await readGgufHeader(sourceOf(tiny))).toEqual({
      version: 3,
      architecture: 'llama',
      name: 'tiny-story',
      parameterCount: 368_000,
      contextLength: 2_048,
      embeddingLength: 128,
      blockCount: 2,
      headCount: 4,
      headCountKv: 2,
      headCountKvTotal: 4,
      keyLength: null,
      valueLength: null,
      vocabularySize: 283,
      fileType: 0,
      quantization: 'F32',
      chatTemplate: chatMlTemplate,
      chatTemplates: [chatMlTemplate],
      tensorCount: 21,
      tensorBytes: 4 * 368_000,
      splitCount: 1,
    } satisfies GgufHeader);
  });

  it('reads the header and not the weights', async () => {
    const source = sourceOf(tiny);
    await readGgufHeader(source);
    expect(source.bytesRead).toBeLessThan(200_000);
  });

  it('adds up heads that differ by layer', async () => {
    const list = Buffer.concat([text('llama.attention.head_count_kv'), u32(9), u32(5), u64(3), u32(8), u32(0), u32(4)]);
    const header = await readGgufHeader(sourceOf(gguf({ keys: [architecture, numberKey('llama.block_count', 3), list] })));
    expect(header).toMatchObject({ headCountKv: 8, headCountKvTotal: 12 });
  });

  it('names the quantization by most of the weights when the file does not', async () => {
    const tensors = [tensor({ name: 'a' }), tensor({ name: 'b', dimensions: [256, 4], type: 12, offset: 128 })];
    expect(await readGgufHeader(sourceOf(gguf({ tensors })))).toMatchObject({ fileType: null, quantization: 'Q4_K', tensorBytes: 128 + 4 * 144, parameterCount: 32 + 1_024 });
  });

  it.each<[string, Uint8Array, string]>([
    ['an empty file', Buffer.alloc(0), 'NOT_GGUF'],
    ['another format', Buffer.from('PK\u0003\u0004 and some more bytes'), 'NOT_GGUF'],
    ['a file of four bytes', Buffer.from('GGUF'), 'TRUNCATED'],
    ['version 1', gguf({ version: 1 }), 'UNSUPPORTED'],
    ['a big-endian file', gguf({ version: 0x03000000 }), 'UNSUPPORTED'],
    ['no architecture', gguf({ keys: [] }), 'MALFORMED'],
    ['an architecture that is a path', gguf({ keys: [textKey('general.architecture', '../llama')] }), 'MALFORMED'],
    ['more keys than there are', gguf({ keyCount: 2, dataBytes: 0 }), 'TRUNCATED'],
    ['very many keys', gguf({ keyCount: 2n ** 64n - 1n }), 'LIMIT_EXCEEDED'],
    ['very many tensors', gguf({ tensorCount: 2n ** 63n }), 'LIMIT_EXCEEDED'],
    ['a key twice', gguf({ keys: [architecture, architecture] }), 'MALFORMED'],
    ['a text without end', gguf({ keys: [architecture, Buffer.concat([text('x'), u32(8), u64(2n ** 62n)])] }), 'LIMIT_EXCEEDED'],
    ['a chat template of 2 MB', gguf({ keys: [architecture, textKey('tokenizer.chat_template', 'x'.repeat(2 ** 21))] }), 'LIMIT_EXCEEDED'],
    ['a list without end', gguf({ keys: [architecture, Buffer.concat([text('x'), u32(9), u32(8), u64(2n ** 40n)])] }), 'LIMIT_EXCEEDED'],
    ['a list of lists', gguf({ keys: [architecture, Buffer.concat([text('x'), u32(9), u32(9), u64(1)])] }), 'UNSUPPORTED'],
    ['a value of an unknown type', gguf({ keys: [architecture, Buffer.concat([text('x'), u32(13)])] }), 'UNSUPPORTED'],
    ['an alignment of 24', gguf({ keys: [architecture, numberKey('general.alignment', 24)] }), 'MALFORMED'],
    ['an alignment of 0', gguf({ keys: [architecture, numberKey('general.alignment', 0)] }), 'MALFORMED'],
    ['a context of 2^32-1 tokens', gguf({ keys: [architecture, numberKey('llama.context_length', 2 ** 32 - 1)] }), 'MALFORMED'],
    ['a tensor twice', gguf({ tensors: [tensor({}), tensor({})] }), 'MALFORMED'],
    ['five dimensions', gguf({ tensors: [tensor({ dimensions: [1, 1, 1, 1, 1] })] }), 'MALFORMED'],
    ['a dimension of 0', gguf({ tensors: [tensor({ dimensions: [32, 0] })] }), 'MALFORMED'],
    ['elements that overflow 64 bits', gguf({ tensors: [tensor({ dimensions: [2n ** 32n, 2n ** 32n] })] }), 'MALFORMED'],
    ['elements that overflow to a small number', gguf({ tensors: [tensor({ dimensions: [2n ** 32n, 2n ** 32n, 2] })] }), 'MALFORMED'],
    ['bytes that overflow 64 bits', gguf({ tensors: [tensor({ dimensions: [2n ** 62n] })] }), 'TRUNCATED'],
    ['an offset that overflows', gguf({ tensors: [tensor({ offset: 2n ** 64n - 32n })] }), 'TRUNCATED'],
    ['an offset between two places', gguf({ tensors: [tensor({ offset: 16 })] }), 'MALFORMED'],
    ['an unknown tensor type', gguf({ tensors: [tensor({ type: 4 })] }), 'UNSUPPORTED'],
    ['rows of half a block', gguf({ tensors: [tensor({ dimensions: [48], type: 2 })] }), 'MALFORMED'],
    ['a tensor that ends one byte after the file', tiny.subarray(0, -1), 'TRUNCATED'],
  ])('refuses %s', async (_what, bytes, code) => {
    expect(await codeOf(bytes)).toBe(code);
  });

  it('refuses a header of more than 50 MB without reading it', async () => {
    const length = 9 * 1024 * 1024;
    const keys = Array.from({ length: 7 }, (_, index) => Buffer.concat([text(`k${index}`), u32(8), u64(length), Buffer.alloc(length)]));
    const source = sourceOf(gguf({ keys: [architecture, ...keys] }));
    await expect(readGgufHeader(source)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
    expect(source.bytesRead).toBeLessThan(10 * 1024 * 1024);
  });

  it('refuses a file that is shorter than it was said to be', async () => {
    expect(await codeOf(tiny.subarray(0, 5_000), tiny.length)).toBe('TRUNCATED');
  });

  it('accepts or refuses with its own error whatever is changed in a header, and reads no more than the file has', async () => {
    const change = fc.record({ at: fc.nat(14_000), bytes: fc.uint8Array({ minLength: 1, maxLength: 8 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 4 }), fc.option(fc.nat(20_000), { nil: undefined }), async (changes, length) => {
        const bytes = Buffer.from(tiny.subarray(0, length));
        for (const { at, bytes: replacement } of changes) bytes.set(replacement.subarray(0, Math.max(0, bytes.length - at)), Math.min(at, bytes.length));
        const source = sourceOf(bytes);
        try {
          const header = await readGgufHeader(source);
          expect(header.tensorBytes).toBeLessThanOrEqual(bytes.length * header.tensorCount);
        } catch (error) {
          expect(error).toBeInstanceOf(GgufError);
        }
        expect(source.bytesRead).toBeLessThanOrEqual(bytes.length + 64 * 1024);
      }),
      { numRuns: 1_000 },
    );
  });
});
