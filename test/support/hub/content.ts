/** Bytes that a double serves: given, on disk, or made from a seed so that any size costs no storage. */
import { createCipheriv, createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync } from 'node:fs';

export type Content = {
  readonly size: number;
  /** The bytes from `start` up to but not including `end`. */
  slice(start: number, end: number): Buffer;
  /** Nothing can change the bytes: their digests are made once. */
  readonly isFixed?: true;
};

const HASH_STEP_BYTES = 1024 * 1024;
const AES_BLOCK_BYTES = 16;

export function bufferContent(bytes: Uint8Array | string): Content {
  const buffer = typeof bytes === 'string' ? Buffer.from(bytes) : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return { size: buffer.length, slice: (start, end) => buffer.subarray(start, end) };
}

export function fileContent(path: string): Content {
  return {
    size: statSync(path).size,
    slice: (start, end) => {
      const bytes = Buffer.alloc(Math.max(0, end - start));
      const file = openSync(path, 'r');
      try {
        let filled = 0;
        while (filled < bytes.length) {
          const read = readSync(file, bytes, filled, bytes.length - filled, start + filled);
          if (read === 0) break;
          filled += read;
        }
        return bytes.subarray(0, filled);
      } finally {
        closeSync(file);
      }
    },
  };
}

/** AES-CTR is a random-access generator: block n needs only n, so a range of a 40 GB file costs what the range costs. */
export function seededContent(seed: string, size: number): Content {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16);
  return {
    size,
    isFixed: true,
    slice: (start, end) => {
      const stop = Math.min(end, size);
      if (stop <= start) return Buffer.alloc(0);
      const firstBlock = Math.floor(start / AES_BLOCK_BYTES);
      const counter = Buffer.alloc(AES_BLOCK_BYTES);
      counter.writeBigUInt64BE(BigInt(firstBlock), 8);
      const skip = start - firstBlock * AES_BLOCK_BYTES;
      return createCipheriv('aes-128-ctr', key, counter)
        .update(Buffer.alloc(skip + stop - start))
        .subarray(skip);
    },
  };
}

export function toContent(source: Content | Uint8Array | string): Content {
  return typeof source === 'object' && 'size' in source ? source : bufferContent(source);
}

const digests = new WeakMap<Content, string>();

/** Tests ask for the same digest many times, some while they wait: of 80 MB that is a second each. */
function keptSha256Of(content: Content): string {
  const known = digests.get(content) ?? digest('sha256', content);
  digests.set(content, known);
  return known;
}

function digest(algorithm: 'sha1' | 'sha256', content: Content, prefix = ''): string {
  const hash = createHash(algorithm).update(prefix);
  for (let at = 0; at < content.size; at += HASH_STEP_BYTES) hash.update(content.slice(at, Math.min(content.size, at + HASH_STEP_BYTES)));
  return hash.digest('hex');
}

export const sha256Of = (content: Content): string => (content.isFixed ? keptSha256Of(content) : digest('sha256', content));

/** The id that git gives these bytes as a blob. */
export const gitBlobSha1Of = (content: Content): string => digest('sha1', content, `blob ${content.size}\0`);
