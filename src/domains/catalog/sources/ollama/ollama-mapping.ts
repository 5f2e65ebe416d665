import { z } from 'zod';
import { modelIdOf } from '../../model-ref.ts';
import type { VariantFiles } from '../../variants.ts';
import type { ModelFile, ModelRef, ModelSummary } from '../../types.ts';
import { parseCount } from './library-html.ts';
import type { LibraryCard } from './library-html.ts';
import type { OllamaManifest } from './registry-client.ts';

const text = z.string().max(200).nullish().catch(null);

/** The blob that a manifest names as its configuration. */
export const ollamaConfigSchema = z.object({
  model_format: text,
  model_family: text,
  model_type: text,
  file_type: text,
  context_length: z.number().int().nonnegative().nullish().catch(null),
  remote_model: text,
  capabilities: z.array(z.string().max(50)).max(50).nullish().catch(null),
});

export type OllamaConfig = z.infer<typeof ollamaConfigSchema>;

/** Categories that are told by the site's capabilities, under the ids that other sources use for the same work. */
export const ollamaCategories: readonly { id: string; name: string; capability: string | null }[] = [
  { id: 'text-generation', name: 'Text generation', capability: null },
  { id: 'image-text-to-text', name: 'Vision and text', capability: 'vision' },
  { id: 'feature-extraction', name: 'Embeddings', capability: 'embedding' },
  { id: 'tools', name: 'Tool use', capability: 'tools' },
  { id: 'thinking', name: 'Thinking', capability: 'thinking' },
];

export function categoryOf(capabilities: readonly string[]): string {
  if (capabilities.includes('embedding')) return 'feature-extraction';
  return capabilities.includes('vision') ? 'image-text-to-text' : 'text-generation';
}

/** Runs on Ollama's own machines only: there is nothing to fetch. */
function isCloudOnly({ capabilities, sizes }: Pick<LibraryCard, 'capabilities' | 'sizes'>): boolean {
  return capabilities.includes('cloud') && sizes.length === 0;
}

export function toSummary(card: LibraryCard, endpoint: string): ModelSummary {
  const { name, capabilities, sizes } = card;
  const [size] = sizes;
  return {
    id: modelIdOf({ source: 'ollama', name, revision: null }),
    source: 'ollama',
    name,
    author: name.includes('/') ? (name.split('/')[0] ?? null) : null,
    displayName: name,
    description: card.description,
    category: categoryOf(capabilities),
    tags: [...capabilities, ...sizes],
    license: null,
    parameters: sizes.length === 1 && size !== undefined ? parseCount(size) : null,
    sizeBytes: null,
    formats: isCloudOnly(card) ? [] : ['gguf'],
    quantizations: [],
    contextLength: null,
    downloads: card.pulls,
    likes: null,
    gated: null,
    createdAt: null,
    updatedAt: card.updatedAt,
    url: `${endpoint}${name.includes('/') ? `/${name}` : `/library/${name}`}`,
  };
}

const layerPrefix = 'application/vnd.ollama.image.';
const smallFiles: Readonly<Record<string, string>> = {
  template: 'template.txt',
  system: 'system.txt',
  prompt: 'prompt.txt',
  params: 'params.json',
  license: 'LICENSE.txt',
  messages: 'messages.json',
};

function numbered(path: string, taken: ReadonlySet<string>): string {
  const dot = path.lastIndexOf('.');
  let candidate = path;
  for (let number = 2; taken.has(candidate); number += 1) candidate = `${path.slice(0, dot)}-${number}${path.slice(dot)}`;
  return candidate;
}

export function layerKind({ mediaType }: { mediaType: string }): string {
  return mediaType.startsWith(layerPrefix) ? mediaType.slice(layerPrefix.length) : '';
}

export type OllamaFiles = {
  files: ModelFile[];
  variants: VariantFiles[];
  /** Why the model cannot be fetched file by file, for people; null when it can. */
  obstacle: string | null;
};

/** Layers as files with names that stay the same for the same name and tag. */
export function toFiles(manifest: OllamaManifest, config: OllamaConfig, ref: ModelRef): OllamaFiles {
  const tag = ref.revision ?? 'latest';
  const stem = `${ref.name.replace('/', '-')}-${tag}`;
  const weights: Readonly<Record<string, string>> = {
    model: `${stem}.gguf`,
    projector: `${stem}-mmproj.gguf`,
    adapter: `${stem}-adapter.gguf`,
    draft: `${stem}-draft.gguf`,
  };
  const kinds = manifest.layers.map(layerKind);
  if (kinds.includes('tensor') || (config.model_format ?? 'gguf') !== 'gguf') {
    return { files: [], variants: [], obstacle: 'Its weights are single tensors (MLX), which only Ollama itself can run.' };
  }
  if (!kinds.includes('model')) {
    return { files: [], variants: [], obstacle: config.remote_model ? "It runs on Ollama's own machines only." : 'It has no weights to fetch.' };
  }
  const files = new Map<string, ModelFile>();
  const model: ModelFile[] = [];
  manifest.layers.forEach((layer, index) => {
    const kind = kinds[index] ?? '';
    const wanted = Object.hasOwn(weights, kind) ? weights[kind] : Object.hasOwn(smallFiles, kind) ? smallFiles[kind] : undefined;
    if (wanted === undefined) return;
    const path = numbered(wanted, new Set(files.keys()));
    const format = path.endsWith('.gguf') ? 'gguf' : 'other';
    const file: ModelFile = { path, sizeBytes: layer.size, sha256: layer.digest, gitSha1: null, format, securityStatus: null };
    files.set(path, file);
    if (kind === 'model') model.push(file);
  });
  const sizeBytes = model.reduce((sum, file) => sum + file.sizeBytes, 0);
  const variant: VariantFiles = { name: tag, format: 'gguf', quantization: config.file_type ?? null, files: model.map(({ path }) => path), sizeBytes };
  return { files: [...files.values()], variants: [variant], obstacle: null };
}
