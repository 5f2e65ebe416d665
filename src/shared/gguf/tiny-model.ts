/**
 * Makes a llama-architecture GGUF that is small, loads in real engines and says what it was told to say. Embeddings
 * are random +-1 rows and both residual branches end in zero matrices, so the last token alone decides the next one:
 * the output matrix is a bigram table. Attention is still computed, so timings are those of a real (tiny) model.
 * The bytes depend on the options alone: only integer arithmetic and exact binary fractions are used.
 */

/** `story`: says the script once and ends. `loop`: says it for ever. `random`: noise that follows the seed. */
export type TinyMode = 'story' | 'loop' | 'random';

export type TinyGgufOptions = {
  mode?: TinyMode;
  name?: string;
  /** Pieces in the order they are said; no piece twice, and none a single byte that occurs elsewhere in it. */
  script?: readonly string[];
  /** What `general.architecture` says and the length that the model claims to be trained for. */
  contextLength?: number;
  layers?: number;
  embeddingLength?: number;
  heads?: number;
  kvHeads?: number;
  feedForward?: number;
  chatTemplate?: string;
};

/** 21 tokens; the party popper is four tokens of one byte each, so its text is whole only after the fourth. */
export const tinyScript: readonly string[] = [
  'Once', ' upon', ' a', ' time', ' there', ' was', ' one', ' small', ' model', ' who', ' said', ' "hello', ' world', '"', ' ',
  '\u{1F389}', ' again', '.',
];

/** What `story` answers; `loop` repeats it without end. */
export const tinyStory = tinyScript.join('');

export const chatMlTemplate =
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const controlTokens = ['<|endoftext|>', '<|im_start|>', '<|im_end|>', '<|pad|>'] as const;
const merges = ['t h', 'th e', 'i n', 'a n', 'an d', 'o n', 'e r', 'r e', 's t'] as const;
const tokenType = { normal: 1, control: 3, userDefined: 4 } as const;
/** Wide enough that the scripted token has a probability of about 1 even at temperature 2. */
const logitOfNext = 24;

export function buildTinyGguf(options: TinyGgufOptions = {}): Buffer {
  const shape = { layers: 2, embeddingLength: 128, heads: 4, kvHeads: 2, feedForward: 256, contextLength: 2048, ...options };
  const { vocabulary, chain, endToken } = buildVocabulary(options.script ?? tinyScript);
  const mode = options.mode ?? 'story';
  const tensors = buildTensors(shape, vocabulary.length, { mode, chain, endToken });
  return encodeGguf(buildMetadata(shape, { ...options, mode }, vocabulary), tensors);
}

type Shape = { layers: number; embeddingLength: number; heads: number; kvHeads: number; feedForward: number; contextLength: number };
type Tensor = { name: string; dimensions: readonly number[]; data: Float32Array };
type Chain = { mode: TinyMode; chain: readonly number[]; endToken: number };

/** GPT-2 writes each byte as a printable character: printable bytes as themselves, the others from U+0100 on. */
function byteAlphabet(): string[] {
  const printable = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(printable(byte) ? byte : next++));
}

function buildVocabulary(script: readonly string[]): { vocabulary: string[]; chain: number[]; endToken: number } {
  const alphabet = byteAlphabet();
  const toAlphabet = (text: string): string[] => [...Buffer.from(text, 'utf8')].map((byte) => alphabet[byte] ?? '');
  const vocabulary = [...alphabet, ...merges.map((merge) => merge.replace(' ', '')), ...controlTokens];
  const chain: number[] = [];
  for (const piece of script) {
    const characters = toAlphabet(piece);
    // Anything but ASCII goes byte by byte, so that readers meet characters that are split over tokens.
    const isAscii = [...Buffer.from(piece, 'utf8')].every((byte) => byte < 128);
    for (const text of isAscii ? [characters.join('')] : characters) {
      let token = vocabulary.indexOf(text);
      if (token < 0) token = vocabulary.push(text) - 1;
      if (chain.includes(token)) throw new Error(`The script says ${JSON.stringify(piece)} twice; every token may occur once only.`);
      chain.push(token);
    }
  }
  return { vocabulary, chain, endToken: vocabulary.indexOf('<|im_end|>') };
}

function mulberry32(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Dimension 0 of an embedding is +1 when the first word of the script comes next, -1 otherwise. */
function buildEmbeddings(vocabularySize: number, width: number, { mode, chain }: Chain): Float32Array {
  const random = mulberry32(1);
  const inside = new Set(mode === 'loop' ? chain.slice(0, -1) : chain);
  const embeddings = Float32Array.from({ length: vocabularySize * width }, () => (random() & 1 ? 1 : -1));
  for (let token = 0; token < vocabularySize; token++) embeddings[token * width] = inside.has(token) ? -1 : 1;
  return embeddings;
}

function buildOutput(embeddings: Float32Array, vocabularySize: number, width: number, script: Chain): Float32Array {
  const output = new Float32Array(vocabularySize * width);
  const { mode, chain, endToken } = script;
  if (mode === 'random') {
    const random = mulberry32(2);
    return output.map(() => ((random() % 257) - 128) / 512);
  }
  const follows = (previous: number, next: number): void => {
    for (let index = 0; index < width; index++) output[next * width + index] = ((embeddings[previous * width + index] ?? 0) * logitOfNext) / width;
  };
  chain.forEach((token, index) => {
    const previous = chain[index - 1];
    if (previous !== undefined) follows(previous, token);
  });
  const [first, last] = [chain[0], chain.at(-1)];
  if (first === undefined || last === undefined) throw new Error('The script is empty.');
  if (mode === 'story') follows(last, endToken);
  // Whatever ends the prompt, the script starts: dimension 0 alone decides it.
  output[first * width] = logitOfNext;
  return output;
}

function buildTensors(shape: Shape, vocabularySize: number, script: Chain): Tensor[] {
  const { embeddingLength: width, feedForward, heads, kvHeads, layers } = shape;
  const kvWidth = (width / heads) * kvHeads;
  const random = mulberry32(3);
  const noise = (length: number): Float32Array => Float32Array.from({ length }, () => ((random() % 65) - 32) / 1024);
  const ones = (): Float32Array => new Float32Array(width).fill(1);
  const embeddings = buildEmbeddings(vocabularySize, width, script);
  const tensors: Tensor[] = [
    { name: 'token_embd.weight', dimensions: [width, vocabularySize], data: embeddings },
    { name: 'output_norm.weight', dimensions: [width], data: ones() },
    { name: 'output.weight', dimensions: [width, vocabularySize], data: buildOutput(embeddings, vocabularySize, width, script) },
  ];
  for (let layer = 0; layer < layers; layer++) {
    const add = (name: string, dimensions: number[], data: Float32Array): void => {
      tensors.push({ name: `blk.${layer}.${name}.weight`, dimensions, data });
    };
    add('attn_norm', [width], ones());
    add('attn_q', [width, width], noise(width * width));
    add('attn_k', [width, kvWidth], noise(width * kvWidth));
    add('attn_v', [width, kvWidth], noise(width * kvWidth));
    add('attn_output', [width, width], new Float32Array(width * width));
    add('ffn_norm', [width], ones());
    add('ffn_gate', [width, feedForward], noise(width * feedForward));
    add('ffn_up', [width, feedForward], noise(width * feedForward));
    add('ffn_down', [feedForward, width], new Float32Array(width * feedForward));
  }
  return tensors;
}

type Value = { type: 'u32' | 'i32' | 'f32'; value: number } | { type: 'bool'; value: boolean } | { type: 'string'; value: string };
type MetadataValue = Value | { type: 'strings'; value: readonly string[] } | { type: 'i32s'; value: readonly number[] };

function buildMetadata(shape: Shape, options: TinyGgufOptions, vocabulary: readonly string[]): [string, MetadataValue][] {
  const u32 = (value: number): MetadataValue => ({ type: 'u32', value });
  const string = (value: string): MetadataValue => ({ type: 'string', value });
  return [
    ['general.architecture', string('llama')],
    ['general.name', string(options.name ?? `tiny-${options.mode ?? 'story'}`)],
    ['general.file_type', u32(0)],
    ['general.alignment', u32(alignment)],
    ['llama.block_count', u32(shape.layers)],
    ['llama.context_length', u32(shape.contextLength)],
    ['llama.embedding_length', u32(shape.embeddingLength)],
    ['llama.feed_forward_length', u32(shape.feedForward)],
    ['llama.attention.head_count', u32(shape.heads)],
    ['llama.attention.head_count_kv', u32(shape.kvHeads)],
    ['llama.rope.dimension_count', u32(shape.embeddingLength / shape.heads)],
    ['llama.attention.layer_norm_rms_epsilon', { type: 'f32', value: 1e-5 }],
    ['llama.vocab_size', u32(vocabulary.length)],
    ['tokenizer.ggml.model', string('gpt2')],
    ['tokenizer.ggml.pre', string('gpt-2')],
    ['tokenizer.ggml.tokens', { type: 'strings', value: vocabulary }],
    ['tokenizer.ggml.token_type', { type: 'i32s', value: vocabulary.map(typeOfToken) }],
    ['tokenizer.ggml.merges', { type: 'strings', value: merges }],
    ['tokenizer.ggml.bos_token_id', u32(vocabulary.indexOf('<|endoftext|>'))],
    ['tokenizer.ggml.eos_token_id', u32(vocabulary.indexOf('<|im_end|>'))],
    ['tokenizer.ggml.padding_token_id', u32(vocabulary.indexOf('<|pad|>'))],
    ['tokenizer.ggml.add_bos_token', { type: 'bool', value: false }],
    ['tokenizer.chat_template', string(options.chatTemplate ?? chatMlTemplate)],
  ];
}

/** Markers of a script such as `<think>` are user-defined, so that a template finds them as one token. */
function typeOfToken(token: string): number {
  if ((controlTokens as readonly string[]).includes(token)) return tokenType.control;
  return /^<.+>$/.test(token) ? tokenType.userDefined : tokenType.normal;
}

const alignment = 32;
const typeIds = { u32: 4, i32: 5, f32: 6, bool: 7, string: 8, array: 9 } as const;

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string): Buffer => {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([u64(bytes.length), bytes]);
};
const f32 = (values: Float32Array): Buffer => {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, index) => bytes.writeFloatLE(value, index * 4));
  return bytes;
};
const padding = (length: number): Buffer => Buffer.alloc((alignment - (length % alignment)) % alignment);

function encodeValue(entry: MetadataValue): Buffer {
  switch (entry.type) {
    case 'u32':
    case 'i32':
      return Buffer.concat([u32(typeIds[entry.type]), u32(entry.value)]);
    case 'f32':
      return Buffer.concat([u32(typeIds.f32), f32(Float32Array.of(entry.value))]);
    case 'bool':
      return Buffer.concat([u32(typeIds.bool), Buffer.of(entry.value ? 1 : 0)]);
    case 'string':
      return Buffer.concat([u32(typeIds.string), text(entry.value)]);
    case 'strings':
      return Buffer.concat([u32(typeIds.array), u32(typeIds.string), u64(entry.value.length), ...entry.value.map(text)]);
    case 'i32s':
      return Buffer.concat([u32(typeIds.array), u32(typeIds.i32), u64(entry.value.length), ...entry.value.map(u32)]);
  }
}

function encodeGguf(metadata: readonly [string, MetadataValue][], tensors: readonly Tensor[]): Buffer {
  const infos: Buffer[] = [];
  const data: Buffer[] = [];
  let offset = 0;
  for (const tensor of tensors) {
    const bytes = f32(tensor.data);
    const pad = padding(bytes.length);
    infos.push(text(tensor.name), u32(tensor.dimensions.length), ...tensor.dimensions.map(u64), u32(0), u64(offset));
    data.push(bytes, pad);
    offset += bytes.length + pad.length;
  }
  const header = Buffer.concat([
    Buffer.from('GGUF'),
    u32(3),
    u64(tensors.length),
    u64(metadata.length),
    ...metadata.flatMap(([key, value]) => [text(key), encodeValue(value)]),
    ...infos,
  ]);
  return Buffer.concat([header, padding(header.length), ...data]);
}
