import type { ByteCursor } from './byte-cursor.ts';
import { GgufError } from './errors.ts';
import { ggufLimits } from './limits.ts';

/** What is kept of a value: vocabularies are counted, not stored. `numbers` only of short lists of whole numbers. */
export type MetadataValue =
  { type: 'number'; value: number } | { type: 'boolean'; value: boolean } | { type: 'text'; value: string } | { type: 'list'; length: number; numbers: readonly number[] | null };

export type Metadata = ReadonlyMap<string, MetadataValue>;

const typeIds = { text: 8, list: 9 } as const;
/** Longer ones are no figures of a model; its layers are a few hundred at most. */
const keptNumbersMax = 2_048;
const keptTextBytesMax = 64 * 1024;
/** A model may have further ones, for uses that follow the name: `tokenizer.chat_template.tool_use`. */
export const chatTemplateKey = 'tokenizer.chat_template';

type Scalar = { size: number; isWhole: boolean; read: (view: DataView) => number | boolean };

/** By the type ids of the format; integers beyond 2^53 lose precision, which no figure of interest reaches. */
const scalars: ReadonlyMap<number, Scalar> = new Map<number, Scalar>([
  [0, { size: 1, isWhole: true, read: (view) => view.getUint8(0) }],
  [1, { size: 1, isWhole: true, read: (view) => view.getInt8(0) }],
  [2, { size: 2, isWhole: true, read: (view) => view.getUint16(0, true) }],
  [3, { size: 2, isWhole: true, read: (view) => view.getInt16(0, true) }],
  [4, { size: 4, isWhole: true, read: (view) => view.getUint32(0, true) }],
  [5, { size: 4, isWhole: true, read: (view) => view.getInt32(0, true) }],
  [6, { size: 4, isWhole: false, read: (view) => view.getFloat32(0, true) }],
  [7, { size: 1, isWhole: false, read: (view) => view.getUint8(0) !== 0 }],
  [10, { size: 8, isWhole: true, read: (view) => Number(view.getBigUint64(0, true)) }],
  [11, { size: 8, isWhole: true, read: (view) => Number(view.getBigInt64(0, true)) }],
  [12, { size: 8, isWhole: false, read: (view) => view.getFloat64(0, true) }],
]);

export async function readMetadata(cursor: ByteCursor, count: number): Promise<Metadata> {
  const metadata = new Map<string, MetadataValue>();
  const seen = new Set<string>();
  for (let index = 0; index < count; index++) {
    const key = await readText(cursor, ggufLimits.keyBytes, 'A key');
    if (seen.has(key)) throw new GgufError('MALFORMED', `The key ${quote(key)} occurs twice.`);
    seen.add(key);
    const value = await readValue(cursor, key);
    if (value !== null) metadata.set(key, value);
  }
  return metadata;
}

/** Text with a length before it. */
export async function readText(cursor: ByteCursor, lengthMax: number, what: string): Promise<string> {
  return await cursor.text(await readLength(cursor, lengthMax, what));
}

export function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}...` : text);
}

async function readLength(cursor: ByteCursor, max: number, what: string): Promise<number> {
  const length = await cursor.u64();
  if (length > BigInt(max)) throw new GgufError('LIMIT_EXCEEDED', `${what} is longer than ${max}.`);
  return Number(length);
}

async function readValue(cursor: ByteCursor, key: string): Promise<MetadataValue | null> {
  const type = await cursor.u32();
  if (type === typeIds.text) return await readTextValue(cursor, key);
  if (type === typeIds.list) return await readList(cursor, key);
  const scalar = scalarOf(type, key);
  const value = scalar.read(await cursor.view(scalar.size));
  return typeof value === 'boolean' ? { type: 'boolean', value } : { type: 'number', value };
}

async function readTextValue(cursor: ByteCursor, key: string): Promise<MetadataValue | null> {
  const isTemplate = key === chatTemplateKey || key.startsWith(`${chatTemplateKey}.`);
  const length = await readLength(cursor, isTemplate ? ggufLimits.chatTemplateBytes : ggufLimits.stringBytes, `The text of ${quote(key)}`);
  if (isTemplate || length <= keptTextBytesMax) return { type: 'text', value: await cursor.text(length) };
  cursor.skip(length);
  return null;
}

async function readList(cursor: ByteCursor, key: string): Promise<MetadataValue> {
  const type = await cursor.u32();
  const length = await readLength(cursor, ggufLimits.arrayItems, `The list ${quote(key)}`);
  if (type === typeIds.text) {
    await cursor.skipStrings(length, ggufLimits.stringBytes);
    return { type: 'list', length, numbers: null };
  }
  const scalar = scalarOf(type, key);
  if (!scalar.isWhole || length > keptNumbersMax) {
    cursor.skip(length * scalar.size);
    return { type: 'list', length, numbers: null };
  }
  const numbers: number[] = [];
  for (let index = 0; index < length; index++) numbers.push(Number(scalar.read(await cursor.view(scalar.size))));
  return { type: 'list', length, numbers };
}

function scalarOf(type: number, key: string): Scalar {
  const scalar = scalars.get(type);
  // A list of lists among them: the format allows it, no reader and no model uses it.
  if (scalar === undefined) throw new GgufError('UNSUPPORTED', `The key ${quote(key)} has the unknown type ${type}.`);
  return scalar;
}
