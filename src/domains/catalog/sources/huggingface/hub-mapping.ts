import { formatOfPath, isSafeFilePath, weightFormatsOf } from '../../file-path.ts';
import { isAppError } from '../../../../shared/errors.ts';
import { modelIdOf, parseModelRef } from '../../model-ref.ts';
import { parseGgufPath } from '../../quantization.ts';
import type { FileSecurityStatus, ModelFile, ModelFormat, ModelSummary } from '../../types.ts';
import { hubCategories } from './hub-categories.ts';
import { hubIssueSchema } from './hub-schemas.ts';
import type { HubModel, HubTreeEntry } from './hub-schemas.ts';

const tagsMax = 200;
const sha256Pattern = /^[0-9a-f]{64}$/;
const sha1Pattern = /^[0-9a-f]{40}$/;
const worstFirst: readonly FileSecurityStatus[] = ['unsafe', 'suspicious', 'caution', 'error', 'queued', 'unscanned', 'safe'];

function textsOf(values: readonly unknown[] | null | undefined): string[] {
  const texts = (values ?? []).filter((value): value is string => typeof value === 'string' && value !== '' && value.length <= 200);
  return texts.slice(0, tagsMax);
}

function isoOf(text: string | null | undefined): string | null {
  const time = Date.parse(text ?? '');
  return Number.isNaN(time) ? null : new Date(time).toISOString();
}

function wholeOf(value: number | null | undefined): number | null {
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : null;
}

function licenseOf({ cardData, tags }: HubModel): string | null {
  const license = cardData?.license;
  const named = Array.isArray(license) ? (license as unknown[])[0] : license;
  const text = typeof named === 'string' ? named : (textsOf(tags).find((tag) => tag.startsWith('license:'))?.slice('license:'.length) ?? null);
  return text === 'other' && cardData?.license_name ? cardData.license_name : (text?.slice(0, 200) ?? null);
}

function isMlx({ library_name, tags }: HubModel): boolean {
  return library_name === 'mlx' || textsOf(tags).includes('mlx');
}

/** Formats of an answer without file sizes: by the names where they are listed, else by tags. */
function formatsOf(model: HubModel, paths: readonly string[]): ModelFormat[] {
  if (paths.length > 0) return weightFormatsOf(paths.map((path) => ({ format: formatFor(model, path) })));
  const tags = new Set(textsOf(model.tags));
  return (['gguf', 'safetensors', 'mlx', 'pytorch', 'onnx'] as const).filter((format) => tags.has(format));
}

function formatFor(model: HubModel, path: string): ModelFormat {
  const format = formatOfPath(path);
  return format === 'safetensors' && isMlx(model) ? 'mlx' : format;
}

export function quantizationsOf(paths: readonly string[]): string[] {
  const names = paths.filter((path) => formatOfPath(path) === 'gguf').map(parseGgufPath);
  const labels = names.flatMap(({ companion, quantization }) => (companion || quantization === null ? [] : [quantization]));
  return [...new Set(labels)].sort();
}

function siblingPaths({ siblings }: HubModel): string[] {
  return (siblings ?? []).flatMap((sibling) => {
    const path = typeof sibling === 'object' && sibling !== null && 'rfilename' in sibling ? sibling.rfilename : null;
    return typeof path === 'string' && isSafeFilePath(path) ? [path] : [];
  });
}

/** `org/name` when the Hub's id is one that may be used in paths and addresses, else null. */
export function hubNameOf(model: HubModel): string | null {
  try {
    const ref = parseModelRef(`huggingface:${model.id}`);
    return ref.revision === null ? ref.name : null;
  } catch (error) {
    if (isAppError(error)) return null;
    throw error;
  }
}

/** Null for a row whose id is not a plain `org/name`. */
export function toSummary(model: HubModel, endpoint: string): ModelSummary | null {
  const name = hubNameOf(model);
  if (name === null) return null;
  const paths = siblingPaths(model);
  const slash = name.indexOf('/');
  return {
    id: modelIdOf({ source: 'huggingface', name, revision: null }),
    source: 'huggingface',
    name,
    author: model.author ?? (slash === -1 ? null : name.slice(0, slash)),
    displayName: name.slice(slash + 1),
    description: null,
    category: hubCategories.find(({ id }) => id === model.pipeline_tag)?.id ?? null,
    tags: textsOf(model.tags),
    license: licenseOf(model),
    parameters: wholeOf(model.safetensors?.total ?? model.gguf?.total),
    sizeBytes: null,
    formats: formatsOf(model, paths),
    quantizations: quantizationsOf(paths),
    contextLength: wholeOf(model.gguf?.context_length),
    downloads: wholeOf(model.downloads),
    likes: wholeOf(model.likes),
    gated: model.gated === null || model.gated === undefined ? null : model.gated !== false,
    createdAt: isoOf(model.createdAt),
    updatedAt: isoOf(model.lastModified),
    url: `${endpoint}/${name}`,
  };
}

function statusOf(text: string | null | undefined): FileSecurityStatus | null {
  return worstFirst.find((status) => status === text) ?? null;
}

/** The verdicts that the repository's answer names, by path. */
export function issuesOf(model: HubModel): Map<string, FileSecurityStatus> {
  const issues = new Map<string, FileSecurityStatus>();
  for (const entry of model.securityRepoStatus?.filesWithIssues ?? []) {
    const parsed = hubIssueSchema.safeParse(entry);
    // A level that is not known yet is no reason to call the file safe.
    if (parsed.success) issues.set(parsed.data.path, statusOf(parsed.data.level) ?? 'caution');
  }
  return issues;
}

export function securityStatusOf(model: HubModel): FileSecurityStatus | null {
  const status = model.securityRepoStatus;
  if (!status) return null;
  const named = new Set(issuesOf(model).values());
  return worstFirst.find((level) => named.has(level)) ?? (status.scansDone === true ? 'safe' : 'queued');
}

export type ListedFiles = { files: ModelFile[]; /** Names that were left out. */ refused: string[] };

function digestsOf({ lfs, oid }: HubTreeEntry): Pick<ModelFile, 'sha256' | 'gitSha1'> {
  if (lfs) return { sha256: sha256Pattern.test(lfs.oid ?? '') ? `sha256:${lfs.oid ?? ''}` : null, gitSha1: null };
  return { sha256: null, gitSha1: sha1Pattern.test(oid ?? '') ? (oid ?? null) : null };
}

/** Files of a listing; names that are not harmless everywhere are left out and told. */
export function toFiles(entries: readonly HubTreeEntry[], model: HubModel): ListedFiles {
  const issues = issuesOf(model);
  const rest = model.securityRepoStatus?.scansDone === true ? 'safe' : null;
  const files = new Map<string, ModelFile>();
  const refused: string[] = [];
  for (const entry of entries) {
    const { path } = entry;
    if (entry.type === 'directory') continue;
    if (!isSafeFilePath(path) || files.has(path)) {
      refused.push(path);
      continue;
    }
    const securityStatus = statusOf(entry.securityFileStatus?.status) ?? issues.get(path) ?? rest;
    files.set(path, { path, sizeBytes: entry.lfs?.size ?? entry.size, ...digestsOf(entry), format: formatFor(model, path), securityStatus });
  }
  return { files: [...files.values()], refused };
}
