import { createHash, randomUUID } from 'node:crypto';
import { constants } from 'node:fs';
import { copyFile, link, lstat, mkdir, readdir, realpath, rename, rm } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, normalize } from 'node:path';
import type { Catalog } from '../catalog/catalog.ts';
import { modelIdOf, parseModelRef } from '../catalog/model-ref.ts';
import type { ModelFile, ModelFormat, ModelRef } from '../catalog/types.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError, validationFailed } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import { hasRole, type Principal } from '../../shared/principal.ts';
import type { InstalledModelRepository } from './installed-model.repository.ts';
import { listLocalFiles, type LocalFile } from './local-files.ts';
import { extensionOf, isSafeFormat } from './planning/file-formats.ts';
import { type DownloadPlan, hasAllShards, planDownload } from './planning/plan-download.ts';
import type { ReadCount } from './read-count.ts';
import type { ScanSuite } from './scan-suite.ts';
import type { DiskBudget } from './storage/disk-budget.ts';
import { linkFile } from './storage/model-files.ts';
import { createLayout, type LayoutOptions, type ModelLayout } from './storage/model-layout.ts';
import { syncFolder } from '../../platform/sync-folder.ts';
import { hashFile } from './transfer/hasher.ts';
import type { ImportModel, InstalledFile } from './types.ts';

export type ImportDeps = {
  installed: InstalledModelRepository;
  catalog: Catalog;
  scans: ScanSuite;
  budget: DiskBudget;
  clock: Clock;
  logger: Logger;
  layout: Omit<LayoutOptions, 'store'>;
  /** Nothing of the service's own may be taken for a model. */
  dataDir: string;
  /** Of this process: what others, killed, have left in the middle is told from its own. */
  instanceId: string;
};

/** A file that is ours already, under a name that nobody uses yet. */
type Taken = LocalFile & { quarantined: string; sha256: string };

const nameMax = 80;
const quarantinePrefix = '.import-';
const quarantinePattern = /^\.import-([0-9a-f-]{36})-/;

/**
 * Takes files of this machine in as a model: by a hard link where that can be, else by a copy, hashed and looked into
 * before they get their names. Answers the ids of what is installed then, one for each variant.
 *
 * Throws FORBIDDEN, VALIDATION_FAILED, FILE_NOT_FOUND, UNSAFE_FILE, UNSUPPORTED_MODEL, INSUFFICIENT_STORAGE.
 */
export async function importModel(input: ImportModel, principal: Principal, { count, ...deps }: ImportDeps & { count: ReadCount }, signal: AbortSignal): Promise<string[]> {
  if (!hasRole(principal, 'ADMIN')) throw new AppError('FORBIDDEN', 'Only an administrator may import files of this machine.');
  const path = await checkedPath(input.path, deps.dataDir);
  const files = await listLocalFiles(path);
  const ref = refOf(input.name ?? defaultName(path));
  const plans = plansOf(files, input, deps.catalog);
  const wanted = new Set(plans.flatMap((plan) => plan.files.map((file) => file.path)));
  const quarantine = join(deps.layout.modelsDir, `${quarantinePrefix}${deps.instanceId}-${randomUUID()}`);
  await mkdir(quarantine, { recursive: true });
  try {
    const taken: Taken[] = [];
    const used = files.filter(({ path: name }) => wanted.has(name));
    count.expect(used.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0));
    for (const file of used) taken.push(await take(file, quarantine, { ...deps, count }, signal));
    const ids: string[] = [];
    for (const plan of plans) ids.push(await install(plan, { ref, taken, input }, deps, signal));
    deps.logger.info({ path, modelId: modelIdOf(ref), override: input.override, by: principal.keyId, installed: ids }, 'a model was imported');
    return ids;
  } finally {
    await rm(quarantine, { recursive: true, force: true });
  }
}

/** Removes what imports of killed processes have left, links to or copies of what was to be taken in. */
export async function sweepImports(modelsDir: string, isAlive: (instanceId: string) => Promise<boolean>): Promise<void> {
  const names = await readdir(modelsDir).catch(() => []);
  for (const name of names) {
    const owner = quarantinePattern.exec(name)?.[1];
    if (owner !== undefined && !(await isAlive(owner))) await rm(join(modelsDir, name), { recursive: true, force: true });
  }
}

async function checkedPath(path: string, dataDir: string): Promise<string> {
  if (!isAbsolute(path) || path.includes('\0')) throw validationFailed([{ field: 'path', message: 'must be an absolute path' }]);
  const clean = normalize(path).replace(/(?<=.)\/$/, '');
  const [own, parent] = await Promise.all([realpath(dataDir).catch(() => dataDir), realpath(dirname(clean)).catch(() => dirname(clean))]);
  const real = join(parent, basename(clean));
  if (real === own || `${real}/`.startsWith(`${own}/`) || own.startsWith(`${real}/`)) throw validationFailed([{ field: 'path', message: "must not be in or around the service's own folder" }]);
  return real;
}

/** `Mistral 7B.Q4_K_M.gguf` becomes `Mistral-7B.Q4_K_M`. */
function defaultName(path: string): string {
  const bare = basename(path).replace(/\.(?:gguf|safetensors)$/i, '').replace(/-\d{5}-of-\d{5}$/, '');
  const plain = bare.replaceAll(/[^A-Za-z0-9._-]+/g, '-').replaceAll(/[-.]{2,}/g, '-').slice(0, nameMax).replaceAll(/^[^A-Za-z0-9_]+|[^A-Za-z0-9_]+$/g, '');
  return plain === '' ? 'model' : plain;
}

function refOf(name: string): ModelRef {
  try {
    return parseModelRef(`local:${name}`);
  } catch {
    throw validationFailed([{ field: 'name', message: 'must be made of letters, digits, dots, dashes and underscores' }]);
  }
}

export function formatOf(path: string): ModelFormat {
  const extension = extensionOf(path);
  return extension === 'gguf' || extension === 'safetensors' ? extension : 'other';
}

/** One plan a variant; what is no part of any, and no small file that belongs to one, stays where it is. */
function plansOf(files: readonly LocalFile[], { override }: ImportModel, catalog: Catalog): DownloadPlan[] {
  const listed = files.map(({ path, sizeBytes }): ModelFile => ({ path, sizeBytes, sha256: null, gitSha1: null, format: formatOf(path), securityStatus: null }));
  const variants = catalog.variantsOf(listed).map((variant) => ({ ...variant, recommended: false }));
  const detail = { revision: '', files: listed, variants };
  const usable = variants.filter((variant) => variant.files.every(isSafeFormat) && hasAllShards(variant.files));
  if (usable.length > 0) return usable.map(({ name }) => planDownload(detail, { variant: name, include: null, exclude: null, override }));
  if (override.includes('unsafe_format')) return [planDownload(detail, { variant: null, include: ['**'], exclude: null, override })];
  throw new AppError('UNSUPPORTED_MODEL', 'There is no whole model in a safe format (GGUF, safetensors) there.');
}

/** Nothing of it can be exchanged from then on: what is hashed and looked into is what gets the name. */
async function take({ path, file, sizeBytes }: LocalFile, quarantine: string, { budget, layout, count }: ImportDeps & { count: ReadCount }, signal: AbortSignal): Promise<Taken> {
  signal.throwIfAborted();
  const quarantined = join(quarantine, randomUUID());
  try {
    await link(file, quarantined);
  } catch (error) {
    if (!isAcross(error)) throw error;
    await budget.assertRoomForNew(layout.modelsDir, [{ place: { blobPath: quarantined, partPath: quarantined, lockPath: null }, sizeBytes }]);
    await copyFile(file, quarantined, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  }
  const status = await lstat(quarantined);
  // Exchanged for something else since it was listed.
  if (!status.isFile() || status.size !== sizeBytes) throw new AppError('UNSAFE_FILE', `${path} changed while it was being imported.`);
  return { path, file, sizeBytes, quarantined, sha256: await hashFile(quarantined, { sizeBytes, sha256: null, gitSha1: null, count }, signal) };
}

/** Another disk, a file system without links, or a file of another owner that may not be linked. */
function isAcross(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return code === 'EXDEV' || code === 'EPERM' || code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'EMLINK' || code === 'ENOSYS';
}

type Import = { ref: ModelRef; taken: readonly Taken[]; input: ImportModel };

async function install(plan: DownloadPlan, { ref, taken, input }: Import, deps: ImportDeps, signal: AbortSignal): Promise<string> {
  const own = taken.filter(({ path }) => plan.files.some((file) => file.path === path));
  const revision = `sha256:${createHash('sha256').update(JSON.stringify(own.map(({ path, sha256 }) => [path, sha256]))).digest('hex')}`;
  const layout = createLayout({ ...deps.layout, store: 'models_dir' }, { ref, revision });
  const files: InstalledFile[] = [];
  for (const file of own) files.push(await look(file, input, deps, signal));
  for (const file of own) await publish(file, layout);
  const { variant, variantKey, format, quantization, totalBytes: sizeBytes } = plan;
  return await deps.installed.enter({ modelId: modelIdOf(ref), revision, variant, variantKey, format, quantization, sizeBytes, folder: layout.folder, files }, deps.clock.now());
}

async function look({ path, quarantined, sizeBytes, sha256 }: Taken, { override }: ImportModel, { scans, logger }: ImportDeps, signal: AbortSignal): Promise<InstalledFile> {
  const isSetAside = override.includes('scan');
  const scan = await scans.report({ path, file: quarantined, sizeBytes, sourceStatus: null }, { isSetAside }, signal);
  const blocking = scan.findings.find(({ severity }) => severity === 'block');
  if (blocking && !isSetAside) throw new AppError('UNSAFE_FILE', blocking.message, { details: { rule: blocking.rule, path } });
  if (blocking) logger.warn({ path, findings: scan.findings }, 'an administrator has set the scan of an imported file aside');
  return { path, sizeBytes, sha256, gitSha1: null, scan };
}

async function publish({ path, quarantined, sizeBytes, sha256 }: Taken, layout: ModelLayout): Promise<void> {
  const { blobPath } = layout.place({ path, sizeBytes, sha256, gitSha1: null });
  await mkdir(dirname(blobPath), { recursive: true });
  // A second variant shares the small files of the first: a link to the quarantined one serves both.
  const temporary = `${blobPath}.${randomUUID()}.tmp`;
  await link(quarantined, temporary).catch(() => copyFile(quarantined, temporary, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE));
  await rename(temporary, blobPath);
  // Two names of one file: a rename of the one onto the other changes nothing and leaves it.
  await rm(temporary, { force: true });
  await syncFolder(dirname(blobPath));
  await linkFileInto(layout, path, blobPath);
}

async function linkFileInto(layout: ModelLayout, path: string, blobPath: string): Promise<void> {
  await mkdir(layout.folder, { recursive: true });
  await linkFile(layout, path, blobPath);
}
