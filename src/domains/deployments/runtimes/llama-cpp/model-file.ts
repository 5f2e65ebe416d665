import { open } from 'node:fs/promises';
import { readGgufHeader } from '../../../../shared/gguf/header.ts';
import type { GgufHeader } from '../../../../shared/gguf/header.ts';

export type ModelFile = { header: GgufHeader; fileBytes: number };

/** Reads and checks the header of a GGUF on disk; throws GgufError, or the file system's error. */
export async function readModelFile(path: string): Promise<ModelFile> {
  await using file = await open(path, 'r');
  const { size } = await file.stat();
  const readAt = async (offset: number, length: number): Promise<Uint8Array> => {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  };
  return { header: await readGgufHeader({ readAt, size }), fileBytes: size };
}
