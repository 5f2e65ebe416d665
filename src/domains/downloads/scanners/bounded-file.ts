import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';

/** Bytes that can be looked at in any order; `readAt` answers fewer where they end. */
export type Bytes = { readonly size: number; readAt(offset: number, length: number): Buffer };

/** A file opened for looking at; reads block, so it is used in a thread of its own. `close` it. */
export type BoundedFile = Bytes & { close(): void };

/** The most that one read takes into memory. */
export const readBytesMax = 64 * 1024 * 1024;

/** Refuses links and anything that is no plain file, and never waits for one (a pipe under the file's name). */
export function openBounded(path: string): BoundedFile {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  const status = fstatSync(fd);
  if (!status.isFile()) {
    closeSync(fd);
    throw new Error('not a plain file');
  }
  return { size: status.size, readAt: (offset, length) => readFully(fd, offset, Math.min(length, Math.max(0, status.size - offset))), close: () => closeSync(fd) };
}

function readFully(fd: number, offset: number, length: number): Buffer {
  if (length > readBytesMax) throw new RangeError('a read is larger than the limit');
  const buffer = Buffer.alloc(length);
  let filled = 0;
  while (filled < length) {
    const read = readSync(fd, buffer, filled, length - filled, offset + filled);
    if (read === 0) break;
    filled += read;
  }
  return buffer.subarray(0, filled);
}

/** A part of other bytes, which ends where that part ends. */
export function sliceOf(bytes: Bytes, start: number, size: number): Bytes {
  return { size, readAt: (offset, length) => bytes.readAt(start + offset, Math.min(length, Math.max(0, size - offset))) };
}

export function bytesOf(buffer: Buffer): Bytes {
  return { size: buffer.length, readAt: (offset, length) => buffer.subarray(offset, offset + length) };
}
