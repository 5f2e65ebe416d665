import { ByteCursor } from './byte-cursor.ts';
import type { ByteSource } from './byte-cursor.ts';
import { GgufError } from './errors.ts';
import { ggufLimits } from './limits.ts';
import { chatTemplateKey, readMetadata } from './metadata.ts';
import type { Metadata } from './metadata.ts';
import { fileTypeNames } from './tensor-types.ts';
import { readTensors } from './tensors.ts';

/** What a GGUF file tells about itself; null is what it does not tell. Lengths in tokens or elements, sizes in bytes. */
export type GgufHeader = {
  version: number;
  /** `split` in the second and later files of a model in several. */
  architecture: string;
  name: string | null;
  parameterCount: number;
  /** The longest context that the model was trained for. */
  contextLength: number | null;
  embeddingLength: number | null;
  blockCount: number | null;
  headCount: number | null;
  /** Of the layer that has most. */
  headCountKv: number | null;
  /** Of all layers together: they may differ, and some have none. */
  headCountKvTotal: number | null;
  keyLength: number | null;
  valueLength: number | null;
  vocabularySize: number | null;
  fileType: number | null;
  /** By the file's own word, else that of most of its weights, e.g. `Q4_K_M`. */
  quantization: string | null;
  /** Jinja; never rendered by the service. */
  chatTemplate: string | null;
  /** That one and those for special uses, as far as they are kept. */
  chatTemplates: readonly string[];
  tensorCount: number;
  tensorBytes: number;
  /** Files that the model consists of; the figures above are of this one alone. */
  splitCount: number;
};

const magic = 0x46554747;
const alignmentDefault = 32;
const alignmentMax = 1024 * 1024;
const figureMax = 2 ** 31 - 1;

/**
 * Reads and checks a header before anything else sees the file: every count is bounded, every size computed without
 * overflow, and every tensor must lie within the file. Throws GgufError only, apart from what `readAt` throws.
 */
export async function readGgufHeader(source: ByteSource): Promise<GgufHeader> {
  const cursor = new ByteCursor(source);
  const version = await readVersion(cursor, source.size);
  const tensorCount = bounded(await cursor.u64(), ggufLimits.tensors, 'tensors');
  const metadata = await readMetadata(cursor, bounded(await cursor.u64(), ggufLimits.metadataKeys, 'keys'));
  const alignment = alignmentOf(metadata);
  const tensors = await readTensors(cursor, tensorCount, alignment);
  const dataStart = BigInt(Math.ceil(cursor.position / alignment) * alignment);
  if (tensorCount > 0 && dataStart + tensors.dataEnd > BigInt(source.size)) {
    throw new GgufError('TRUNCATED', `The file should have ${dataStart + tensors.dataEnd} bytes at least and has ${source.size}.`);
  }
  const fileType = figure(metadata, 'general.file_type');
  return {
    version,
    ...describeModel(metadata),
    parameterCount: Number(tensors.elements),
    fileType,
    quantization: (fileType === null ? undefined : fileTypeNames.get(fileType)) ?? tensors.mostUsedType,
    tensorCount,
    tensorBytes: Number(tensors.bytes),
    splitCount: figure(metadata, 'split.count') ?? 1,
  };
}

async function readVersion(cursor: ByteCursor, size: number): Promise<number> {
  if (size < 4 || (await cursor.u32()) !== magic) throw new GgufError('NOT_GGUF', 'The file is not a GGUF file.');
  const version = await cursor.u32();
  // Version 1 had other counts and is found nowhere any more; a big-endian file shows as a huge number.
  if (version !== 2 && version !== 3) throw new GgufError('UNSUPPORTED', `GGUF version ${version} is not supported.`);
  return version;
}

type ModelFigures = Omit<GgufHeader, 'version' | 'parameterCount' | 'fileType' | 'quantization' | 'tensorCount' | 'tensorBytes' | 'splitCount'>;

function describeModel(metadata: Metadata): ModelFigures {
  // Of a model in several files only the first describes it.
  const isLaterShard = (figure(metadata, 'split.no') ?? 0) > 0;
  const architecture = text(metadata, 'general.architecture') ?? (isLaterShard ? 'split' : null);
  if (architecture === null || !/^[\w.-]{1,64}$/.test(architecture)) throw new GgufError('MALFORMED', 'The file does not name its architecture.');
  const own = (key: string): number | null => figure(metadata, `${architecture}.${key}`);
  const blockCount = own('block_count');
  const headCount = own('attention.head_count');
  const kvHeads = perLayer(metadata, `${architecture}.attention.head_count_kv`);
  // Without a figure of their own, keys and values have as many heads as queries.
  const headCountKv = kvHeads === null ? headCount : Math.max(...kvHeads, 0);
  const isPerLayer = kvHeads !== null && kvHeads.length > 1;
  const tokens = metadata.get('tokenizer.ggml.tokens');
  return {
    architecture,
    name: text(metadata, 'general.name'),
    contextLength: own('context_length'),
    embeddingLength: own('embedding_length'),
    blockCount,
    headCount,
    headCountKv,
    headCountKvTotal: isPerLayer ? kvHeads.reduce((sum, heads) => sum + heads, 0) : blockCount === null || headCountKv === null ? null : blockCount * headCountKv,
    keyLength: own('attention.key_length'),
    valueLength: own('attention.value_length'),
    vocabularySize: tokens?.type === 'list' ? tokens.length : own('vocab_size'),
    chatTemplate: text(metadata, chatTemplateKey),
    chatTemplates: [...metadata].flatMap(([key, value]) => (key.startsWith(chatTemplateKey) && value.type === 'text' ? [value.value] : [])),
  };
}

function alignmentOf(metadata: Metadata): number {
  const value = metadata.get('general.alignment');
  if (value === undefined) return alignmentDefault;
  const isValid = value.type === 'number' && Number.isInteger(Math.log2(value.value)) && value.value >= 1 && value.value <= alignmentMax;
  if (!isValid) throw new GgufError('MALFORMED', 'The alignment is no power of two.');
  return value.value;
}

function bounded(count: bigint, max: number, what: string): number {
  if (count > BigInt(max)) throw new GgufError('LIMIT_EXCEEDED', `The header speaks of ${count} ${what}.`);
  return Number(count);
}

function text(metadata: Metadata, key: string): string | null {
  const value = metadata.get(key);
  return value?.type === 'text' ? value.value : null;
}

/** The whole number under `key`; of a list per layer the largest. */
function figure(metadata: Metadata, key: string): number | null {
  const values = perLayer(metadata, key);
  return values === null ? null : Math.max(...values, 0);
}

function perLayer(metadata: Metadata, key: string): readonly number[] | null {
  const value = metadata.get(key);
  const numbers = value?.type === 'number' ? [value.value] : value?.type === 'list' ? value.numbers : null;
  if (numbers === null) return null;
  if (numbers.every((number) => Number.isInteger(number) && number >= 0 && number <= figureMax)) return numbers;
  throw new GgufError('MALFORMED', `The figure ${key} is out of range.`);
}
