import { Buffer } from 'node:buffer';

/** A well-formed safetensors file of exactly `sizeBytes`: one tensor of bytes that no two blocks share. */
export function buildSafetensors(sizeBytes: number): Buffer {
  const headerBytes = 256;
  const length = sizeBytes - 8 - headerBytes;
  const header = JSON.stringify({ data: { dtype: 'U8', shape: [length], data_offsets: [0, length] } }).padEnd(headerBytes, ' ');
  const file = Buffer.alloc(sizeBytes);
  file.writeBigUInt64LE(BigInt(headerBytes), 0);
  file.write(header, 8, 'latin1');
  let state = 0x9e3779b9;
  for (let offset = 8 + headerBytes; offset + 4 <= sizeBytes; offset += 4) {
    // xorshift32: quick, the same on every run, and nothing that a wrong offset could match by chance.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    file.writeInt32LE(state | 0, offset);
  }
  return file;
}

const bytesOf: Readonly<Record<string, number>> = { F64: 8, F32: 4, I32: 4, BF16: 2, F16: 2, I8: 1 };

/** A well-formed file of these tensors, all zeros. */
export function safetensorsOf(tensors: Readonly<Record<string, { dtype: string; shape: readonly number[] }>>): Buffer {
  let end = 0;
  const header = Object.entries(tensors).map(([name, { dtype, shape }]) => {
    const start = end;
    end += shape.reduce((product, length) => product * length, bytesOf[dtype] ?? 0);
    return [name, { dtype, shape, data_offsets: [start, end] }];
  });
  const text = Buffer.from(JSON.stringify(Object.fromEntries(header)));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(end)]);
}
