import type { ModelFigures } from '../gguf/memory.ts';
import { isObject } from '../json-shapes.ts';

/** A server of PyTorch without a model: its libraries and, on a graphics card, their context. Not measured here. */
const processBytes = 2 * 1024 ** 3;
/** No real model has more of anything. */
const figureMax = 2 ** 31 - 1;

/** Figures of `config.json`; null is what it does not tell. The weights are counted apart, so `tensorBytes` is 0. */
export type ConfigFigures = ModelFigures & { architecture: string | null };

/**
 * Reads a repository's `config.json` as the library transformers writes it, with the older names of some models. Null
 * where the text is no JSON object.
 */
export function readConfigFigures(text: string): ConfigFigures | null {
  const root = parseObject(text);
  if (root === null) return null;
  // Models that see have one config for each part; that of the language model counts.
  const config = asObject(root['text_config']) ?? root;
  const headCount = figure(config, 'num_attention_heads', 'n_head', 'num_heads');
  const embeddingLength = figure(config, 'hidden_size', 'n_embd', 'd_model');
  return {
    tensorBytes: 0,
    processBytes,
    architecture: typeof root['model_type'] === 'string' ? root['model_type'].slice(0, 100) : null,
    contextLength: figure(config, 'max_position_embeddings', 'n_positions', 'max_seq_len', 'n_ctx', 'seq_length'),
    embeddingLength,
    headCount,
    vocabularySize: figure(config, 'vocab_size'),
    ...cacheOf(config, headCount),
  };
}

type Cache = Pick<ModelFigures, 'headCountKvTotal' | 'keyLength' | 'valueLength'>;

/** Of one token in all layers that keep something of it. */
function cacheOf(config: Config, headCount: number | null): Cache {
  const layers = layersWithCache(config);
  const [compressed, rotary] = [figure(config, 'kv_lora_rank'), figure(config, 'qk_rope_head_dim')];
  // Latent attention keeps one compressed row a token in place of keys and values of each head.
  if (compressed !== null && layers !== null) return { headCountKvTotal: layers, keyLength: compressed + (rotary ?? 0), valueLength: 0 };
  const kvHeads = figure(config, 'num_key_value_heads', 'n_head_kv', 'num_kv_heads') ?? (config['multi_query'] === true ? 1 : headCount);
  const headLength = figure(config, 'head_dim');
  return { headCountKvTotal: layers === null || kvHeads === null ? null : layers * kvHeads, keyLength: headLength, valueLength: headLength };
}

function layersWithCache(config: Config): number | null {
  const { layer_types: types } = config;
  if (Array.isArray(types) && types.length > 0) return types.filter((type) => !/linear|mamba|recurrent|conv/.test(String(type))).length;
  return figure(config, 'num_hidden_layers', 'n_layer', 'num_layers');
}

type Config = Readonly<Record<string, unknown>>;

function figure(config: Config, ...names: string[]): number | null {
  const value = names.map((name) => config[name]).find((given) => given !== undefined && given !== null);
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 && value <= figureMax ? value : null;
}

function parseObject(text: string): Config | null {
  try {
    return asObject(JSON.parse(text));
  } catch {
    return null;
  }
}

function asObject(value: unknown): Config | null {
  return isObject(value) ? value : null;
}
