import { rename, rm, truncate } from 'node:fs/promises';
import type { JobQueue } from '../../shared/job-queue.ts';
import { AppError } from '../../shared/errors.ts';
import { hasRole, type Principal } from '../../shared/principal.ts';
import type { DownloadRepository } from './download.repository.ts';
import type { InstalledRow } from './installed-model.repository.ts';
import { isSafeFormat } from './planning/file-formats.ts';
import { type DownloadPlan, filesKeyOf, hashOf, type PlannedFile } from './planning/plan-download.ts';
import { enqueueTask } from './queue.ts';
import type { DiskBudget } from './storage/disk-budget.ts';
import type { BlobPlace, ModelLayout } from './storage/model-layout.ts';
import { digestPartBytes, digestParts, type PartDigests } from './storage/part-digests.ts';
import type { PartProgress } from './transfer/part-map.ts';
import { removePartFiles, sidecarPathOf, writeSidecar } from './transfer/sidecar.ts';
import type { InstalledFile, OverrideRule } from './types.ts';
import { placeOf } from './verify-model.ts';

export type RepairDeps = {
  repository: DownloadRepository;
  digests: PartDigests;
  budget: DiskBudget;
  jobs: JobQueue;
  bootId: Promise<string | null>;
  layoutOf: (task: { modelId: string; requestedRevision: string | null }, revision: string) => ModelLayout;
  hasSource: (modelId: string) => boolean;
};

/**
 * Makes a download of what is wrong with a model: of a damaged file whose parts have digests of ours only the parts
 * that are wrong are fetched again. Answers the task's id. What is damaged loses its name at once.
 *
 * Throws UNSUPPORTED_MODEL (nothing to fetch it from), FORBIDDEN, INSUFFICIENT_STORAGE.
 */
export async function repairModel(row: InstalledRow, principal: Principal, deps: RepairDeps, signal: AbortSignal): Promise<string> {
  const { modelId, revision, folder } = row;
  if (!deps.hasSource(modelId)) throw new AppError('UNSUPPORTED_MODEL', 'This model was imported from this machine: there is no source to fetch it from again.');
  const layout = deps.layoutOf({ modelId, requestedRevision: null }, revision);
  if (layout.folder !== folder) throw new AppError('UNSUPPORTED_MODEL', 'This model lies in a folder that is not configured any more; download it again.');
  const override = overridesFor(row.files);
  if (override.length > 0 && !hasRole(principal, 'ADMIN')) throw new AppError('FORBIDDEN', 'Rules were set aside for this model: only an administrator may fetch it again.');
  const plan = planOf(row);
  const damaged = row.files.filter(({ damage }) => damage === 'damaged');
  await deps.budget.assertRoomForNew(layout.root, plan.files.filter(({ path }) => row.files.some((file) => file.path === path && file.damage === 'missing')).map((file) => ({ place: layout.place(file), sizeBytes: file.sizeBytes })));
  for (const file of damaged) await setAside(file, { row, layout }, deps, signal);
  const requestKey = hashOf([modelId, revision, 'repair', ...row.files.map(({ path }) => path)]);
  const asked = { requestedRevision: null, requestKey, include: null, exclude: null, target: 'local' as const, priority: 0, maxBytesPerSecond: null, override, createdBy: principal.keyId };
  const task = { ...asked, modelId, variant: row.variant ?? null, plan, filesKey: filesKeyOf(modelId, plan, 'local'), status: 'queued' as const, error: null, retryAt: null, installedModelId: null };
  const { id } = await deps.repository.create(task, null);
  await enqueueTask(deps.jobs, { id, priority: 0, modelId });
  return id;
}

/** What somebody set aside when these files came holds for the same bytes again. */
function overridesFor(files: readonly InstalledFile[]): OverrideRule[] {
  const rules: OverrideRule[] = [];
  if (files.some(({ path }) => !isSafeFormat(path))) rules.push('unsafe_format');
  if (files.some(({ scan }) => scan?.verdict === 'BLOCKED')) rules.push('scan');
  return rules;
}

/** The files that are installed, whatever the source would choose today. */
function planOf({ revision, variant, variantKey, format, quantization, files }: InstalledRow): DownloadPlan {
  const planned = files.map(toPlanned);
  return { revision, variant: variant ?? null, variantKey, format, quantization: quantization ?? null, files: planned, totalBytes: planned.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}

function toPlanned({ path, sizeBytes, sha256, gitSha1 }: InstalledFile): PlannedFile {
  return { path, sizeBytes, sha256: gitSha1 === null ? sha256 : null, gitSha1, sourceStatus: null };
}

/** Takes a damaged file out of its place, and leaves what is right of it where a download goes on from. */
async function setAside(file: InstalledFile, { row, layout }: { row: InstalledRow; layout: ModelLayout }, deps: RepairDeps, signal: AbortSignal): Promise<void> {
  const planned = toPlanned(file);
  const place = layout.place(planned);
  const blob = await placeOf(row.folder, file.path);
  if (blob === null) return;
  const known = file.sha256 === null ? null : await deps.digests.find(file.sha256, file.sizeBytes);
  const progress = known && blob === place.blobPath ? soundParts(known, await digestParts(blob, file.sizeBytes, signal), file.sizeBytes) : null;
  await removePartFiles(place.partPath);
  // Only a blob of ours is moved or removed: never what a stranger's link leads to.
  if (progress === null) await rm(place.blobPath, { force: true });
  else await keepSound(place, { planned, row, progress }, deps);
}

type Kept = { planned: PlannedFile; row: InstalledRow; progress: PartProgress };

async function keepSound({ blobPath, partPath }: BlobPlace, { planned, row, progress }: Kept, deps: RepairDeps): Promise<void> {
  const { sourceStatus: _status, ...content } = planned;
  await rename(blobPath, partPath);
  await truncate(partPath, planned.sizeBytes);
  const identity = { modelId: row.modelId, revision: row.revision, ...content };
  const sidecar = { identity, partBytes: digestPartBytes, bootId: await deps.bootId, done: progress, synced: progress, etag: null, verified: null };
  await writeSidecar(sidecarPathOf(partPath), sidecar, true);
}

/** What is there of the file, as a download counts it; null when all parts are as they should be, which then say nothing. */
export function soundParts(expected: readonly string[], found: readonly string[], sizeBytes: number): PartProgress | null {
  const isSound = expected.map((digest, index) => found[index] === digest);
  const first = isSound.indexOf(false);
  if (first === -1) return null;
  const lengthOf = (index: number): number => Math.min(digestPartBytes, sizeBytes - index * digestPartBytes);
  const parts = isSound.flatMap((sound, index): (readonly [number, number])[] => (sound && index > first ? [[index, lengthOf(index)]] : []));
  return { prefix: first * digestPartBytes, parts };
}
