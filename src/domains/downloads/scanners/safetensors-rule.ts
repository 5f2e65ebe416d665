import { isCounts, isObject } from '../../../shared/json-shapes.ts';
import { dtypeBits } from '../../../shared/safetensors/dtypes.ts';
import type { ScanFinding } from '../file-scanner.ts';
import type { Bytes } from './bounded-file.ts';
import { findings, quoted, ScanRefusal } from './refusal.ts';

/** The format allows 100 MB; the largest header of a published file is below a tenth of this. */
const headerBytesMax = 32 * 1024 * 1024;
const dimensionsMax = 32;

const refuse = (message: string): ScanRefusal => new ScanRefusal('safetensors.structure', message);

/** Every byte of the file belongs to exactly one tensor, and every tensor is as large as it says. */
export function scanSafetensors(bytes: Bytes): readonly ScanFinding[] {
  return findings(() => {
    const { header, dataBytes } = readHeader(bytes);
    const spans = Object.entries(header).flatMap(([name, value]) => (name === '__metadata__' ? [] : [spanOf(name, value)]));
    if ('__metadata__' in header) assertTexts(header['__metadata__']);
    let free = 0;
    for (const { start, end } of spans.toSorted((a, b) => a.start - b.start || a.end - b.end)) {
      if (start !== free) throw refuse('The tensors leave a gap or lie over each other.');
      free = end;
    }
    if (free !== dataBytes) throw refuse(`The tensors take ${free} bytes and the file has ${dataBytes} for them.`);
    return [];
  });
}

function readHeader(bytes: Bytes): { header: Record<string, unknown>; dataBytes: number } {
  const prefix = bytes.readAt(0, 9);
  if (prefix.length < 9) throw refuse('The file is too short to be a safetensors file.');
  const length = prefix.readBigUInt64LE(0);
  if (length + 8n > BigInt(bytes.size)) throw refuse('The file ends within its header.');
  if (length > BigInt(headerBytesMax)) throw new ScanRefusal('scan.limits', 'The header is longer than any real one.');
  if (prefix[8] !== 0x7b) throw refuse('The file does not begin like a safetensors file.');
  const text = bytes.readAt(8, Number(length)).toString('utf8');
  return { header: parseObject(text), dataBytes: bytes.size - 8 - Number(length) };
}

function parseObject(text: string): Record<string, unknown> {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw refuse('The header is no JSON.');
  }
  if (!isObject(parsed)) throw refuse('The header is no object.');
  // Of a name that occurs twice some programs take the first and others the last.
  if (countKeys(text) !== keysIn(parsed)) throw refuse('A name occurs twice in the header.');
  return parsed;
}

/** Names in sound JSON: texts that a colon follows. */
function countKeys(text: string): number {
  let count = 0;
  for (const [, colon] of text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/gs)) if (colon !== undefined) count += 1;
  return count;
}

/** In the header and in what it holds; deeper there is nothing that the format knows. */
function keysIn(header: Record<string, unknown>): number {
  return Object.values(header).reduce<number>((sum, value) => sum + (isObject(value) ? Object.keys(value).length : 0), Object.keys(header).length);
}

function assertTexts(metadata: unknown): void {
  if (!isObject(metadata) || !Object.values(metadata).every((value) => typeof value === 'string')) throw refuse('The notes in the header are no texts.');
}

function spanOf(name: string, value: unknown): { start: number; end: number } {
  const label = `The tensor ${quoted(name)}`;
  if (!isObject(value) || Object.keys(value).length !== 3) throw refuse(`${label} is not described as it should be.`);
  const { dtype, shape, data_offsets: offsets } = value;
  const bits = dtypeBits.get(dtype);
  if (bits === undefined) throw refuse(`${label} has a type that is not known.`);
  if (!isCounts(shape) || shape.length > dimensionsMax) throw refuse(`${label} has a shape that is none.`);
  if (!isCounts(offsets) || offsets.length !== 2) throw refuse(`${label} has no place.`);
  const [start = 0, end = 0] = offsets;
  const needed = shape.reduce((product, length) => product * BigInt(length), bits);
  if (end < start || needed !== BigInt(end - start) * 8n) throw refuse(`${label} has another size than its shape.`);
  return { start, end };
}
