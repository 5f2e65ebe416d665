/** Names of GGUF quantisations as publishers write them into file names. */
const label =
  '(?:UD-)?(?:I?Q[1-8]_(?:K_(?:XXL|XL|L|M|S)|K|XXS|XS|NL|S|M|[01](?:_[48]_[48])?)|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)';
const labelPattern = new RegExp(`(?:^|[-._])(${label})(?=$|[-._])`, 'gi');
const shardPattern = /^(.*)-(\d{5})-of-(\d{5})$/;
const companionPattern = /(?:^|[-._])(?:mmproj|imatrix)(?=$|[-._])/i;

/** The last label in the text, in capitals with `F16` and `F32` for the forms with P, else null. */
export function quantizationIn(text: string): string | null {
  const last = [...text.matchAll(labelPattern)].at(-1)?.[1];
  return last === undefined ? null : last.toUpperCase().replace(/^FP(?=16|32)/, 'F');
}

export type GgufName = {
  /** Path without shard number and extension: equal for all shards of one file. */
  stem: string;
  quantization: string | null;
  shard: { index: number; count: number } | null;
  /** An image projector or an importance matrix: belongs to a model, is none. */
  companion: boolean;
};

/** Reads what a GGUF file's path says. A label in the name wins over one in a folder's name. */
export function parseGgufPath(path: string): GgufName {
  const bare = path.replace(/\.gguf$/i, '');
  const match = shardPattern.exec(bare);
  const stem = match?.[1] ?? bare;
  const segments = stem.split('/');
  const quantization = segments.reduceRight<string | null>((found, segment) => found ?? quantizationIn(segment), null);
  return {
    stem,
    quantization,
    shard: match ? { index: Number(match[2]), count: Number(match[3]) } : null,
    companion: companionPattern.test(segments.at(-1) ?? ''),
  };
}

/**
 * Which quantisation to take when nobody chooses, best first. Q4_K_M is what llama.cpp and Ollama take too: the four-
 * and five-bit K mixtures are the best trade of quality for memory; more bits gain little, fewer than four lose visibly.
 */
const preference = [
  'Q4_K_M', 'Q4_K_L', 'Q4_K_XL', 'Q5_K_M', 'Q5_K_L', 'Q5_K_XL', 'Q5_K_S', 'Q4_K_S', 'MXFP4', 'MXFP4_MOE', 'NVFP4', 'IQ4_XS', 'IQ4_NL',
  'Q5_1', 'Q5_0', 'Q4_1', 'Q4_0', 'Q6_K', 'Q6_K_L', 'Q6_K_XL', 'Q8_0', 'Q8_K_XL', 'Q3_K_L', 'Q3_K_XL', 'Q3_K_M', 'IQ3_M', 'Q3_K_S', 'IQ3_S',
  'IQ3_XS', 'BF16', 'F16', 'IQ3_XXS', 'Q2_K_L', 'Q2_K_XL', 'Q2_K', 'Q2_K_S', 'F32',
];

/** Lower is better; labels that are not ranked come after all that are. */
export function preferenceRank(quantization: string | null): number {
  const rank = quantization === null ? -1 : preference.indexOf(quantization.replace(/^UD-/, ''));
  return rank === -1 ? preference.length : rank;
}
