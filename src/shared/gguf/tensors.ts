import type { ByteCursor } from './byte-cursor.ts';
import { GgufError } from './errors.ts';
import { ggufLimits } from './limits.ts';
import { quote, readText } from './metadata.ts';
import { tensorTypes } from './tensor-types.ts';

export type TensorTotals = {
  elements: bigint;
  bytes: bigint;
  /** Where the last tensor ends, counted from the start of the tensor data. */
  dataEnd: bigint;
  /** Name of the type that holds most bytes; null without tensors. */
  mostUsedType: string | null;
};

/** Largest number of elements that an engine's signed 64-bit arithmetic can hold. */
const elementsMax = 2n ** 63n - 1n;

/** Reads and checks every tensor's description; whether the data is there is for the caller, who knows where it begins. */
export async function readTensors(cursor: ByteCursor, count: number, alignment: number): Promise<TensorTotals> {
  const names = new Set<string>();
  const bytesByType = new Map<string, bigint>();
  const totals = { elements: 0n, bytes: 0n, dataEnd: 0n };
  for (let index = 0; index < count; index++) {
    const name = await readText(cursor, ggufLimits.tensorNameBytes, "A tensor's name");
    if (names.has(name)) throw new GgufError('MALFORMED', `The tensor ${quote(name)} occurs twice.`);
    names.add(name);
    const { elements, bytes, offset, type } = await readTensor(cursor, name);
    if (offset % BigInt(alignment) !== 0n) throw new GgufError('MALFORMED', `The tensor ${quote(name)} does not begin at a multiple of ${alignment}.`);
    totals.elements += elements;
    totals.bytes += bytes;
    if (offset + bytes > totals.dataEnd) totals.dataEnd = offset + bytes;
    bytesByType.set(type, (bytesByType.get(type) ?? 0n) + bytes);
  }
  const mostUsed = [...bytesByType].reduce<[string, bigint] | null>((most, entry) => (most === null || entry[1] > most[1] ? entry : most), null);
  return { ...totals, mostUsedType: mostUsed?.[0] ?? null };
}

type TensorInfo = { elements: bigint; bytes: bigint; offset: bigint; type: string };

async function readTensor(cursor: ByteCursor, name: string): Promise<TensorInfo> {
  const dimensions = await cursor.u32();
  if (dimensions > ggufLimits.dimensions) throw new GgufError('MALFORMED', `The tensor ${quote(name)} has ${dimensions} dimensions.`);
  let elements = 1n;
  let rowLength = 1n;
  for (let dimension = 0; dimension < dimensions; dimension++) {
    const length = await cursor.u64();
    if (length === 0n) throw new GgufError('MALFORMED', `The tensor ${quote(name)} has no elements.`);
    if (dimension === 0) rowLength = length;
    elements *= length;
    if (elements > elementsMax) throw new GgufError('MALFORMED', `The tensor ${quote(name)} is larger than anything.`);
  }
  const typeId = await cursor.u32();
  const type = tensorTypes.get(typeId);
  if (type === undefined) throw new GgufError('UNSUPPORTED', `The tensor ${quote(name)} has the unknown type ${typeId}.`);
  if (rowLength % type.blockElements !== 0n) throw new GgufError('MALFORMED', `The rows of the tensor ${quote(name)} are no whole blocks.`);
  return { elements, bytes: (elements / type.blockElements) * type.blockBytes, offset: await cursor.u64(), type: type.name };
}
