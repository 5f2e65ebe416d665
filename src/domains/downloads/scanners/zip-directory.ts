import type { Bytes } from './bounded-file.ts';
import { ScanRefusal } from './refusal.ts';

export type ZipEntry = {
  name: string;
  method: number;
  compressedBytes: number;
  sizeBytes: number;
  headerOffset: number;
  /** Where its bytes begin. */
  dataOffset: number;
};

const entriesMax = 10_000;
const directoryBytesMax = 16 * 1024 * 1024;
const endBytes = 22;
const end64LocatorBytes = 20;
const end64Bytes = 56;
const headerBytes = 46;
const localBytes = 30;
const commentBytesMax = 65_535;

const refuse = (message: string): ScanRefusal => new ScanRefusal('archive.structure', message);

type Directory = { offset: number; size: number; count: number; /** Where it must end. */ end: number };

/**
 * The entries of an archive, from its directory, compared with what stands before each of them: an archive that two
 * programs could read in two ways is refused. Throws ScanRefusal. Nothing is unpacked.
 */
export function readZip(bytes: Bytes): ZipEntry[] {
  const directory = findDirectory(bytes);
  if (directory.count > entriesMax || directory.size > directoryBytesMax) throw new ScanRefusal('scan.limits', 'The archive has more entries than a model needs.');
  if (directory.offset + directory.size !== directory.end) throw refuse('The directory of the archive is not where it should be.');
  const entries = readEntries(bytes.readAt(directory.offset, directory.size), directory.count).map((entry) => withData(bytes, entry));
  assertInOrder(entries, directory.offset);
  return entries;
}

function findDirectory(bytes: Bytes): Directory {
  const tailBytes = Math.min(bytes.size, endBytes + commentBytesMax);
  const tail = bytes.readAt(bytes.size - tailBytes, tailBytes);
  const signature = Buffer.from('504b0506', 'hex');
  const at = tail.lastIndexOf(signature);
  const isAtEnd = at !== -1 && tail.length - at >= endBytes && tail.length - at === endBytes + tail.readUInt16LE(at + 20);
  // A second end mark, or one within a comment, is read by some programs and not by others.
  if (!isAtEnd || tail.indexOf(signature) !== at) throw refuse('The archive has no clear end.');
  const end = bytes.size - tailBytes + at;
  const disks = [tail.readUInt16LE(at + 4), tail.readUInt16LE(at + 6)];
  const short = { count: tail.readUInt16LE(at + 10), size: tail.readUInt32LE(at + 12), offset: tail.readUInt32LE(at + 16), end };
  const locator = end >= end64LocatorBytes ? bytes.readAt(end - end64LocatorBytes, end64LocatorBytes) : Buffer.alloc(0);
  const hasLocator = locator.length === end64LocatorBytes && locator.readUInt32LE(0) === 0x07064b50;
  if (!hasLocator) {
    if (disks.some((disk) => disk !== 0) || tail.readUInt16LE(at + 8) !== short.count) throw refuse('The archive is one of several parts.');
    return short;
  }
  return findDirectory64(bytes, locator, end);
}

function findDirectory64(bytes: Bytes, locator: Buffer, end: number): Directory {
  const start = number64(locator, 8);
  if (start + end64Bytes + end64LocatorBytes !== end) throw refuse('The end of the archive is not where it should be.');
  const record = bytes.readAt(start, end64Bytes);
  if (record.length < end64Bytes || record.readUInt32LE(0) !== 0x06064b50) throw refuse('The archive has no clear end.');
  return { count: number64(record, 32), size: number64(record, 40), offset: number64(record, 48), end: start };
}

function number64(buffer: Buffer, at: number): number {
  const value = buffer.readBigUInt64LE(at);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw refuse('The archive has a size that no file has.');
  return Number(value);
}

type Listed = Omit<ZipEntry, 'dataOffset'> & { nameBytes: Buffer };

function readEntries(directory: Buffer, count: number): Listed[] {
  const entries: Listed[] = [];
  let at = 0;
  for (let index = 0; index < count; index += 1) {
    if (at + headerBytes > directory.length || directory.readUInt32LE(at) !== 0x02014b50) throw refuse('The directory of the archive is broken.');
    const [nameLength, extraLength, commentLength] = [directory.readUInt16LE(at + 28), directory.readUInt16LE(at + 30), directory.readUInt16LE(at + 32)];
    const next = at + headerBytes + nameLength + extraLength + commentLength;
    if (next > directory.length) throw refuse('The directory of the archive is broken.');
    entries.push(readEntry(directory.subarray(at, next), nameLength, extraLength));
    at = next;
  }
  if (at !== directory.length) throw refuse('The directory of the archive has more than its entries.');
  return entries;
}

const linkMode = 0xa;

function readEntry(entry: Buffer, nameLength: number, extraLength: number): Listed {
  const flags = entry.readUInt16LE(8);
  if ((flags & 0x2041) !== 0) throw new ScanRefusal('archive.encrypted', 'The archive has an encrypted entry.');
  if (entry.readUInt32LE(38) >>> 28 === linkMode) throw new ScanRefusal('archive.link', 'The archive has an entry that is a link.');
  const nameBytes = entry.subarray(headerBytes, headerBytes + nameLength);
  const extra = entry.subarray(headerBytes + nameLength, headerBytes + nameLength + extraLength);
  const sizes = { sizeBytes: entry.readUInt32LE(24), compressedBytes: entry.readUInt32LE(20), headerOffset: entry.readUInt32LE(42) };
  return { nameBytes, name: nameBytes.toString('utf8'), method: entry.readUInt16LE(10), ...withLongSizes(sizes, extra) };
}

/** A figure that does not fit into 32 bits is all ones, and stands in the extra field, in this order. */
function withLongSizes<Sizes extends { sizeBytes: number; compressedBytes: number; headerOffset: number }>(sizes: Sizes, extra: Buffer): Sizes {
  const long = extraField(extra, 1);
  const result = { ...sizes };
  let at = 0;
  for (const name of ['sizeBytes', 'compressedBytes', 'headerOffset'] as const) {
    if (result[name] !== 0xffffffff) continue;
    if (!long || at + 8 > long.length) throw refuse('The archive does not tell the size of an entry.');
    result[name] = number64(long, at);
    at += 8;
  }
  return result;
}

function extraField(extra: Buffer, id: number): Buffer | null {
  for (let at = 0; at + 4 <= extra.length; ) {
    const length = extra.readUInt16LE(at + 2);
    if (extra.readUInt16LE(at) === id) return extra.subarray(at + 4, at + 4 + length);
    at += 4 + length;
  }
  return null;
}

function withData(bytes: Bytes, { nameBytes, ...entry }: Listed): ZipEntry {
  const local = bytes.readAt(entry.headerOffset, localBytes);
  if (local.length < localBytes || local.readUInt32LE(0) !== 0x04034b50) throw refuse('An entry of the archive is not where its directory says.');
  const nameLength = local.readUInt16LE(26);
  const sameName = bytes.readAt(entry.headerOffset + localBytes, nameLength).equals(nameBytes);
  const flags = local.readUInt16LE(6);
  if (!sameName || local.readUInt16LE(8) !== entry.method || (flags & 0x2041) !== 0) throw refuse('An entry of the archive is not what its directory says.');
  const hasSizes = (flags & 8) === 0;
  const shown = [local.readUInt32LE(18), local.readUInt32LE(22)];
  const expected = [entry.compressedBytes, entry.sizeBytes];
  if (hasSizes && shown.some((size, index) => size !== 0xffffffff && size !== expected[index])) throw refuse('An entry of the archive has another size than its directory says.');
  return { ...entry, dataOffset: entry.headerOffset + localBytes + nameLength + local.readUInt16LE(28) };
}

/** From the first byte on, one behind the other: what lies before, over or under an entry is read by some and not by others. */
function assertInOrder(entries: readonly ZipEntry[], directoryOffset: number): void {
  const sorted = entries.toSorted((a, b) => a.headerOffset - b.headerOffset);
  if ((sorted[0]?.headerOffset ?? directoryOffset) !== 0) throw refuse('Something stands before the archive.');
  let free = 0;
  for (const { headerOffset, dataOffset, compressedBytes } of sorted) {
    if (headerOffset < free) throw refuse('Entries of the archive lie over each other.');
    free = dataOffset + compressedBytes;
  }
  if (free > directoryOffset) throw refuse('An entry of the archive reaches into its directory.');
}
