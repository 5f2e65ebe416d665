import type { ByteSource } from '../gguf/byte-cursor.ts';
import { isCounts, isObject } from '../json-shapes.ts';
import { dtypeBits } from './dtypes.ts';

/** The one error that reading a header throws by itself; what `readAt` throws passes through. */
export class SafetensorsError extends Error {
  override readonly name = 'SafetensorsError';
}

/** What the header of one file tells about its weights, in bytes. */
export type SafetensorsHeader = {
  tensorBytes: number;
  /** What they take once they are loaded: servers halve 32-bit floats and quarter 64-bit ones. */
  loadedBytes: number;
  /** Of most of the weights, e.g. `BF16`; null where there are none. */
  dtype: string | null;
};

/** Files of the largest models have headers below 1 MiB. */
const headerBytesMax = 8 * 1024 * 1024;
const prefixBytes = 8;
const halfBits = 16n;
const bitsPerByte = 8n;
const wideFloats = new Set(['F32', 'F64']);

/** Reads what decides the memory, every size computed without overflow and held against the file's. The scan looks deeper. */
export async function readSafetensorsHeader({ readAt, size }: ByteSource): Promise<SafetensorsHeader> {
  const prefix = await readExactly(readAt, 0, prefixBytes);
  const length = new DataView(prefix.buffer, prefix.byteOffset, prefixBytes).getBigUint64(0, true);
  if (length > BigInt(headerBytesMax) || length + BigInt(prefixBytes) > BigInt(size)) throw new SafetensorsError('The header is longer than the file, or than any real one.');
  const header = parse(new TextDecoder().decode(await readExactly(readAt, prefixBytes, Number(length))));
  const dataBits = (BigInt(size - prefixBytes) - length) * bitsPerByte;
  const tensors = Object.entries(header).flatMap(([name, value]): unknown[] => (name === '__metadata__' ? [] : [value]));
  return sum(tensors, dataBits);
}

async function readExactly(readAt: ByteSource['readAt'], offset: number, length: number): Promise<Uint8Array> {
  const bytes = await readAt(offset, length);
  if (bytes.length < length) throw new SafetensorsError('The file ends within its header.');
  return bytes;
}

function parse(text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch {
    // Told below.
  }
  throw new SafetensorsError('The header is no JSON object.');
}

function sum(tensors: readonly unknown[], dataBits: bigint): SafetensorsHeader {
  let [bits, loadedBits] = [0n, 0n];
  const byType = new Map<string, bigint>();
  for (const tensor of tensors) {
    const { dtype, count, width } = readTensor(tensor);
    bits += count * width;
    loadedBits += count * (wideFloats.has(dtype) ? halfBits : width);
    byType.set(dtype, (byType.get(dtype) ?? 0n) + count);
  }
  if (bits > dataBits) throw new SafetensorsError('The tensors take more bytes than the file has.');
  const [most] = [...byType].sort((a, b) => (a[1] < b[1] ? 1 : -1));
  // A file's size is a safe number, and these are no larger.
  return { tensorBytes: Number(bits / bitsPerByte), loadedBytes: Number(loadedBits / bitsPerByte), dtype: most?.[0] ?? null };
}

function readTensor(value: unknown): { dtype: string; count: bigint; width: bigint } {
  const { dtype, shape }: Record<string, unknown> = isObject(value) ? value : {};
  const width = dtypeBits.get(dtype);
  if (typeof dtype !== 'string' || width === undefined || !isCounts(shape)) {
    throw new SafetensorsError('A tensor is not described as it should be.');
  }
  return { dtype, width, count: shape.reduce((product, length) => product * BigInt(length), 1n) };
}
