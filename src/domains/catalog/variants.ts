import { parseGgufPath } from './quantization.ts';
import type { GgufName } from './quantization.ts';
import type { ModelFile, ModelFormat, ModelVariant } from './types.ts';

export type VariantFiles = Pick<ModelVariant, 'name' | 'format' | 'quantization' | 'files' | 'sizeBytes'>;

/** Formats that are taken as a whole repository, under their own name. */
const wholeFormats = ['safetensors', 'mlx', 'pytorch', 'onnx'] as const;

type Member = { file: ModelFile; name: GgufName };

function sizeOf(files: readonly ModelFile[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/** A missing shard makes all others useless, so an incomplete set is no variant. */
function isComplete(members: readonly Member[]): boolean {
  const count = members[0]?.name.shard?.count ?? 1;
  if (members.length !== count) return false;
  return members.every(({ name }, index) => (name.shard?.index ?? 1) === index + 1 && (name.shard?.count ?? 1) === count);
}

function groupGguf(files: readonly ModelFile[]): Member[][] {
  const groups = new Map<string, Member[]>();
  for (const file of files) {
    const name = parseGgufPath(file.path);
    if (name.companion) continue;
    const key = `${name.stem}\n${name.shard?.count ?? 0}`;
    const group = groups.get(key);
    if (group) group.push({ file, name });
    else groups.set(key, [{ file, name }]);
  }
  const byShard = (a: Member, b: Member): number => (a.name.shard?.index ?? 1) - (b.name.shard?.index ?? 1);
  return [...groups.values()].map((group) => group.sort(byShard)).filter(isComplete);
}

function ggufVariants(files: readonly ModelFile[]): VariantFiles[] {
  const groups = groupGguf(files);
  const uses = new Map<string, number>();
  for (const [first] of groups) {
    const label = first?.name.quantization;
    if (label) uses.set(label, (uses.get(label) ?? 0) + 1);
  }
  const taken = new Set<string>(wholeFormats);
  return groups.map((group) => {
    const { stem = '', quantization = null } = group[0]?.name ?? {};
    const members = group.map(({ file }) => file);
    const files = members.map(({ path }) => path);
    // Two models in one repository with the same quantisation: only the path tells them apart.
    const wanted = quantization !== null && uses.get(quantization) === 1 ? quantization : stem;
    const name = taken.has(wanted) ? (files[0] ?? wanted) : wanted;
    taken.add(name);
    return { name, format: 'gguf', quantization, files, sizeBytes: sizeOf(members) };
  });
}

/** Weights at the top are the model itself; folders hold other precisions or parts of a pipeline. */
function wholeRepository(files: readonly ModelFile[], format: ModelFormat): VariantFiles[] {
  const weights = files.filter((file) => file.format === format);
  const atTop = weights.filter(({ path }) => !path.includes('/'));
  const candidates = atTop.length > 0 ? atTop : weights;
  // Some repositories carry the same weights a second time in the publisher's own layout (`consolidated.*`).
  const usual = candidates.filter(({ path }) => /^(?:model|pytorch_model)[-.]/.test(path));
  const members = usual.length > 0 ? usual : candidates;
  if (members.length === 0) return [];
  return [{ name: format, format, quantization: null, files: members.map(({ path }) => path), sizeBytes: sizeOf(members) }];
}

/** The ways to take a model, told by its files' names: smallest first within GGUF, then whole repositories. */
export function variantsOf(files: readonly ModelFile[]): VariantFiles[] {
  const gguf = ggufVariants(files.filter(({ format }) => format === 'gguf')).sort((a, b) => a.sizeBytes - b.sizeBytes || (a.name < b.name ? -1 : 1));
  const whole = wholeFormats.flatMap((format) => wholeRepository(files, format));
  return [...gguf, ...whole];
}
