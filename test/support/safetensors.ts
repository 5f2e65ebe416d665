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
