import { createHash } from 'node:crypto';
import type { FileSecurityStatus, ModelDetail, ModelFile, ModelVariant } from '../../catalog/types.ts';
import { AppError, type FieldFault, validationFailed } from '../../../shared/errors.ts';
import { isStorable } from '../../../shared/storable.ts';
import { isSafePath } from '../storage/safe-path.ts';
import type { OverrideRule } from '../types.ts';
import { isCompanion, isSafeFormat, nameOf } from './file-formats.ts';
import { type Glob, parseGlob } from './glob.ts';

export type Selection = {
  variant: string | null;
  include: readonly string[] | null;
  exclude: readonly string[] | null;
  override: readonly OverrideRule[];
};

export type PlannedFile = { path: string; sizeBytes: number; /** Bare hex. */ sha256: string | null; gitSha1: string | null; sourceStatus: FileSecurityStatus | null };

export type DownloadPlan = {
  revision: string;
  variant: string | null;
  /** Names what is installed, together with model and revision. */
  variantKey: string;
  format: string;
  quantization: string | null;
  /** Small ones first: they fail quickly where anything is wrong. */
  files: readonly PlannedFile[];
  totalBytes: number;
};

const filesMax = 2_000;
const variantNameMax = 200;

/** What has to be known of a model to choose from it. */
export type PlannedFrom = Pick<ModelDetail, 'revision' | 'files'> & { variants: readonly Omit<ModelVariant, 'fit'>[] };
type Variant = PlannedFrom['variants'][number];

/**
 * Which files of the model a request means, pinned. Throws VALIDATION_FAILED (no such variant, a pattern that means
 * nothing), UNSAFE_FILE (formats that can carry code, hostile names, the source's own verdict) and UNSUPPORTED_MODEL (also where
 * parts of split weights are missing at the source).
 */
export function planDownload(detail: PlannedFrom, selection: Selection): DownloadPlan {
  const chosen = chooseVariant(detail, selection);
  // Such a name is no quantisation's, and would not fit where it is stored.
  if (chosen && chosen.name.length > variantNameMax) throw new AppError('UNSUPPORTED_MODEL', 'The name of this variant is too long to be real; name its files instead.');
  const files = selectFiles(detail, selection, chosen);
  if (files.length === 0) throw validationFailed([{ field: selection.include ? 'include' : 'exclude', message: 'leaves no file of this model' }]);
  if (files.length > filesMax) throw new AppError('UNSUPPORTED_MODEL', `The selection has ${files.length} files; at most ${filesMax} are fetched as one.`);
  assertSafe(files, selection.override);
  assertWhole(files, detail.files);
  const planned = files.map(toPlanned).sort((a, b) => a.sizeBytes - b.sizeBytes || (a.path < b.path ? -1 : 1));
  const isWholeVariant = chosen !== null && !selection.include && !selection.exclude;
  return {
    revision: detail.revision,
    variant: chosen?.name ?? null,
    variantKey: isWholeVariant ? chosen.name : `files:${hashOf(planned.map(({ path }) => path)).slice(0, 32)}`,
    format: chosen?.format ?? weightFormatOf(files),
    quantization: chosen?.quantization ?? null,
    files: planned,
    totalBytes: planned.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  };
}

/** Equal for two requests that come to the same files, however they were worded. */
export function filesKeyOf(modelId: string, plan: DownloadPlan, target: string): string {
  return hashOf([modelId, plan.revision, target, ...plan.files.map(({ path }) => path).sort()]);
}

export function hashOf(parts: readonly (string | null)[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

const patternsMax = 64;

/** What is wrong with the patterns of a request, before the model is looked at. */
export function patternFaults(field: 'include' | 'exclude', patterns: readonly string[] | null): FieldFault[] {
  if (patterns === null) return [];
  if (patterns.length > patternsMax) return [{ field, message: `has more than ${patternsMax} patterns` }];
  return patterns.flatMap((pattern, index) => (isStorable(pattern) && parseGlob(pattern) ? [] : [{ field: `${field}.${index}`, message: 'is not a glob pattern' }]));
}

function globsOf(patterns: readonly string[] | null): readonly Glob[] | null {
  return patterns?.flatMap((pattern) => parseGlob(pattern) ?? []) ?? null;
}

function chooseVariant(detail: PlannedFrom, { variant, include, exclude }: Selection): Variant | null {
  if (variant !== null) {
    const named = detail.variants.find(({ name }) => name === variant) ?? detail.variants.find(({ name }) => name.toLowerCase() === variant.toLowerCase());
    if (named) return named;
    const names = detail.variants.map(({ name }) => name).slice(0, 20).join(', ');
    throw validationFailed([{ field: 'variant', message: names === '' ? 'this model has no variants' : `must be one of ${names}` }]);
  }
  if (include || exclude) return null;
  const recommended = detail.variants.find((candidate) => candidate.recommended) ?? smallestSafe(detail.variants);
  if (recommended) return recommended;
  // Split weights that are not whole are no variant: that is why there is none.
  assertWhole(detail.files, detail.files);
  throw new AppError('UNSUPPORTED_MODEL', 'No file of this model is in a format that is known to be safe and usable here; name a variant or files to fetch them all the same.');
}

/** Where nothing is recommended the smallest variant that may be fetched at all is the least surprise. */
function smallestSafe(variants: readonly Variant[]): Variant | undefined {
  return variants.filter(({ files }) => files.every(isSafeFormat)).sort((a, b) => a.sizeBytes - b.sizeBytes)[0];
}

function selectFiles(detail: PlannedFrom, selection: Selection, chosen: Variant | null): ModelFile[] {
  const include = globsOf(selection.include);
  const exclude = globsOf(selection.exclude) ?? [];
  const wanted = new Set<string>(chosen ? variantPaths(detail, chosen) : []);
  if (include || !chosen) {
    for (const { path } of detail.files) if (!include || include.some((matches) => matches(path))) wanted.add(path);
  }
  completeShards(detail.files, wanted);
  return detail.files.filter(({ path }) => wanted.has(path) && !exclude.some((matches) => matches(path)));
}

function variantPaths(detail: PlannedFrom, chosen: Variant): string[] {
  const projector = chosen.format === 'gguf' ? projectorOf(detail.files) : undefined;
  const companions = detail.files.map(({ path }) => path).filter(isCompanion);
  return [...chosen.files, ...(projector ? [projector.path] : []), ...companions];
}

/** Vision models need their image encoder too; one precision of it is enough. */
function projectorOf(files: readonly ModelFile[]): ModelFile | undefined {
  const projectors = files.filter(({ path, format }) => format === 'gguf' && /mmproj/i.test(nameOf(path)));
  return projectors.find(({ path }) => /(?:^|[^b])f16/i.test(nameOf(path))) ?? projectors.sort((a, b) => a.sizeBytes - b.sizeBytes)[0];
}

const shardPattern = /^(.*)-\d{5}-of-(\d{5})(\.[a-z]+)$/i;

/** One shard is worth nothing without the others. */
function completeShards(files: readonly ModelFile[], wanted: Set<string>): void {
  const setOf = (path: string): string | null => {
    const match = shardPattern.exec(path);
    return match ? `${match[1] ?? ''}\n${match[2] ?? ''}\n${match[3] ?? ''}` : null;
  };
  const sets = new Set([...wanted].map(setOf).filter((set) => set !== null));
  for (const { path } of files) if (sets.has(setOf(path) ?? '')) wanted.add(path);
}

/** Far more than weights were ever split into; a name that says more says nothing. */
const shardsMax = 2_000;

/** Part of a model is none; what stands in the names is all that says how many there should be. */
export function hasAllShards(paths: readonly string[]): boolean {
  return missingShards(paths).length === 0;
}

/** The names that split files among these say there must be as well. */
export function missingShards(paths: readonly string[]): string[] {
  const there = new Set(paths.map((path) => path.toLowerCase()));
  const sets = new Map(paths.flatMap((path) => {
    const [, base = '', count = '', extension = ''] = shardPattern.exec(path) ?? [];
    return count === '' ? [] : [[`${base}\n${count}\n${extension}`.toLowerCase(), { base, count, extension }] as const];
  }));
  return [...sets.values()].flatMap(({ base, count, extension }) => {
    const nameAt = (index: number): string => `${base}-${String(index).padStart(5, '0')}-of-${count}${extension}`;
    // Counted from 1 by llama.cpp and transformers, from 0 by some.
    const first = there.has(nameAt(0).toLowerCase()) ? 0 : 1;
    const names = Array.from({ length: Math.min(Number(count), shardsMax + 1) }, (_, index) => nameAt(first + index));
    return names.filter((name) => !there.has(name.toLowerCase()));
  });
}

/** Half of split weights loads nowhere, whoever asked for it. */
function assertWhole(files: readonly ModelFile[], all: readonly ModelFile[]): void {
  const missing = missingShards(files.filter(({ format }) => format !== 'other').map(({ path }) => path));
  if (missing.length === 0) return;
  const isThere = all.some(({ path }) => missing.includes(path));
  if (isThere) throw validationFailed([{ field: 'exclude', message: `leaves out ${missing[0] ?? ''}, without which the other parts of that file are of no use` }]);
  const more = missing.length > 1 ? ` and ${missing.length - 1} more` : '';
  throw new AppError('UNSUPPORTED_MODEL', `This model is not whole at its source: ${missing[0] ?? ''}${more} is missing there, without which the parts that are there are of no use.`, { details: { missing: missing.slice(0, 20) } });
}

function unsafe(message: string, paths: readonly string[]): AppError {
  return new AppError('UNSAFE_FILE', message, { details: { paths: paths.slice(0, 20) } });
}

function assertSafe(files: readonly ModelFile[], override: readonly OverrideRule[]): void {
  const paths = files.map(({ path }) => path);
  const hostile = paths.filter((path) => !isSafePath(path));
  // No rule can be set aside here: such a name is an attack or a mistake, and never needed.
  if (hostile.length > 0) throw unsafe('A file of this model has a name that cannot be trusted.', hostile.map((path) => JSON.stringify(path).slice(0, 80)));
  const clashing = clashes(paths);
  if (clashing.length > 0) throw unsafe('Two files of this model would have the same place on the disk.', clashing);
  const risky = paths.filter((path) => !isSafeFormat(path));
  if (risky.length > 0 && !override.includes('unsafe_format')) {
    throw unsafe('These formats can carry code that runs when they are opened; an administrator may fetch them with the override "unsafe_format".', risky);
  }
  const flagged = files.filter(({ securityStatus }) => securityStatus === 'unsafe' || securityStatus === 'suspicious').map(({ path }) => path);
  if (flagged.length > 0 && !override.includes('scan')) {
    throw unsafe('The source itself marks these files as unsafe; an administrator may fetch them with the override "scan".', flagged);
  }
}

/** The same path twice, also on systems that do not tell capitals, or a file where another one needs a folder. */
function clashes(paths: readonly string[]): string[] {
  const seen = new Set<string>();
  const doubled = paths.filter((path) => {
    const folded = path.toLowerCase();
    const isKnown = seen.has(folded);
    seen.add(folded);
    return isKnown;
  });
  const below = paths.filter((path) => path.split('/').some((_, depth, names) => depth > 0 && seen.has(names.slice(0, depth).join('/').toLowerCase())));
  return [...doubled, ...below];
}

function toPlanned({ path, sizeBytes, sha256, gitSha1, securityStatus }: ModelFile): PlannedFile {
  const digest = sha256?.replace(/^sha256:/, '') ?? null;
  // Digests become file names: only the exact form is one.
  if (digest !== null && !/^[0-9a-f]{64}$/.test(digest)) throw unsafe('A file of this model has a checksum that is none.', [path]);
  if (gitSha1 !== null && !/^[0-9a-f]{40}$/.test(gitSha1)) throw unsafe('A file of this model has a checksum that is none.', [path]);
  if (!Number.isSafeInteger(sizeBytes) || sizeBytes < 0) throw unsafe('A file of this model has no size.', [path]);
  // One digest names the bytes; a git id beside a SHA-256 is that of a pointer to them.
  return { path, sizeBytes, sha256: digest, gitSha1: digest === null ? gitSha1 : null, sourceStatus: securityStatus };
}

function weightFormatOf(files: readonly ModelFile[]): string {
  const formats = files.map(({ format }) => format);
  return formats.find((format) => format !== 'other') ?? 'other';
}
