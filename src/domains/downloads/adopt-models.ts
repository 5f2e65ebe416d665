import type { Catalog } from '../catalog/catalog.ts';
import { modelIdOf } from '../catalog/model-ref.ts';
import type { ModelFile } from '../catalog/types.ts';
import { isAbort } from '../../shared/abort.ts';
import type { Clock } from '../../shared/clock.ts';
import { isAppError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import { downloadMachine, isUnfinished } from './download.machine.ts';
import type { DownloadRepository } from './download.repository.ts';
import { formatOf } from './import-model.ts';
import type { InstalledModelRepository } from './installed-model.repository.ts';
import type { Sources } from './model-lookup.ts';
import { isSafeFormat } from './planning/file-formats.ts';
import { hasAllShards, planDownload, type PlannedFile, type PlannedFrom } from './planning/plan-download.ts';
import type { ReadCount } from './read-count.ts';
import type { ScanSuite } from './scan-suite.ts';
import { type CachedFile, type CachedSnapshot, cachedSnapshots } from './storage/cached-snapshots.ts';
import type { PartDigests } from './storage/part-digests.ts';
import { isMissingFile, MismatchFault } from './transfer/faults.ts';
import { hashFile } from './transfer/hasher.ts';
import type { InstalledFile } from './types.ts';

export type AdoptDeps = {
  repository: DownloadRepository;
  installed: InstalledModelRepository;
  sources: Sources;
  catalog: Catalog;
  scans: ScanSuite;
  digests: PartDigests;
  clock: Clock;
  logger: Logger;
  hfCacheDir: string;
};

type AdoptWork = AdoptDeps & { count: ReadCount };

/** The Hub is asked once a snapshot; who has no network learns it soon. */
const askMs = 10_000;

/**
 * Enters models that other tools have put into the shared cache, whole, as installed: every file is compared with the
 * digest that the Hub promises, or, while that cannot be asked, with the one that the cache names it by, and looked
 * into. What is not whole, damaged or refused by a scan stays where it is. `only`: a model's id; null = all of them.
 * Answers the ids of what was entered.
 */
export async function adoptModels(only: string | null, deps: AdoptWork, signal: AbortSignal): Promise<string[]> {
  const unfinished = await deps.repository.listByStatus(downloadMachine.states.filter(isUnfinished));
  // Those are being completed by their own worker.
  const busy = new Set(unfinished.map(({ modelId }) => modelId));
  const ids: string[] = [];
  for await (const snapshot of cachedSnapshots(deps.hfCacheDir)) {
    signal.throwIfAborted();
    const modelId = modelIdOf(snapshot.ref);
    if (busy.has(modelId) || (only !== null && only !== modelId)) continue;
    try {
      ids.push(...(await adoptSnapshot(snapshot, deps, signal)));
    } catch (error) {
      signal.throwIfAborted();
      deps.logger.warn({ folder: snapshot.folder, error }, 'a model in the shared cache could not be taken over');
    }
  }
  return ids;
}

async function adoptSnapshot(snapshot: CachedSnapshot, deps: AdoptWork, signal: AbortSignal): Promise<string[]> {
  const modelId = modelIdOf(snapshot.ref);
  const known = (await deps.installed.findByModels([modelId])).filter(({ revision }) => revision === snapshot.revision);
  // Also by a choice of files that has all its weights: two rows for the same files would keep each other's from being deleted.
  const isKnown = ({ name, files }: { name: string; files: readonly string[] }): boolean =>
    known.some((row) => row.variantKey === name || files.every((path) => row.files.some((file) => file.path === path)));
  // Without asking anybody: most of what lies there is known already, or is no model that runs here.
  const guessed = describeCached(snapshot, deps.catalog).variants.filter((variant) => isUsable(variant.files) && !isKnown(variant));
  if (guessed.length === 0) return [];
  const detail = (await describeAtHub(snapshot, deps, signal)) ?? describeCached(snapshot, deps.catalog);
  const byPath = new Map(snapshot.files.map((file) => [file.path, file]));
  const isThere = ({ path, sizeBytes }: ModelFile): boolean => byPath.get(path)?.sizeBytes === sizeBytes;
  const there = { ...detail, files: detail.files.filter(isThere) };
  const paths = new Set(there.files.map(({ path }) => path));
  const ids: string[] = [];
  for (const candidate of detail.variants) {
    const { name, files } = candidate;
    if (isKnown(candidate) || !isUsable(files) || !files.every((path) => paths.has(path))) continue;
    const plan = planDownload(there, { variant: name, include: null, exclude: null, override: [] });
    const taken = await takeOver(plan.files, byPath, deps, signal);
    if (taken === null || !files.every((path) => taken.some((file) => file.path === path))) continue;
    const { variant, variantKey, format, quantization } = plan;
    const sizeBytes = taken.reduce((sum, file) => sum + file.sizeBytes, 0);
    ids.push(await deps.installed.enter({ modelId, revision: snapshot.revision, variant, variantKey, format, quantization, sizeBytes, folder: snapshot.folder, files: taken }, deps.clock.now()));
    deps.digests.remember(taken.flatMap(({ path, sha256, sizeBytes: size }) => (sha256 === null ? [] : [{ path: byPath.get(path)?.file ?? '', sha256, sizeBytes: size }])));
    deps.logger.info({ modelId, variant, folder: snapshot.folder }, 'a model that lay in the shared cache counts as installed now');
  }
  return ids;
}

const isUsable = (files: readonly string[]): boolean => files.every(isSafeFormat) && hasAllShards(files);

/** What the names in the cache tell. */
function describeCached({ revision, files }: CachedSnapshot, catalog: Catalog): PlannedFrom {
  const listed = files.map(({ path, sizeBytes, sha256, gitSha1 }): ModelFile => ({ path, sizeBytes, sha256: sha256 === null ? null : `sha256:${sha256}`, gitSha1, format: formatOf(path), securityStatus: null }));
  return { revision, files: listed, variants: catalog.variantsOf(listed).map((variant) => ({ ...variant, recommended: false })) };
}

/** Null while the Hub cannot be asked, or does not show this model to us. */
async function describeAtHub({ ref, revision }: CachedSnapshot, { sources, catalog, logger }: AdoptDeps, signal: AbortSignal): Promise<PlannedFrom | null> {
  const limit = AbortSignal.timeout(askMs);
  try {
    const found = await sources.get(ref.source)?.describe({ ...ref, revision }, AbortSignal.any([signal, limit]));
    if (found?.revision !== revision) return null;
    return { revision, files: found.files, variants: (found.variants ?? catalog.variantsOf(found.files)).map((variant) => ({ ...variant, recommended: false })) };
  } catch (error) {
    signal.throwIfAborted();
    if (!limit.aborted && !isAbort(error) && !isAppError(error)) throw error;
    logger.debug({ model: ref.name, error }, 'the Hub could not be asked about a model in the cache; its own names tell what it should be');
    return null;
  }
}

/** The files as they are installed then; null when one of them may not be used. */
async function takeOver(files: readonly PlannedFile[], byPath: ReadonlyMap<string, CachedFile>, { scans, logger, count }: AdoptWork, signal: AbortSignal): Promise<InstalledFile[] | null> {
  const taken: InstalledFile[] = [];
  for (const { path, sizeBytes, sha256, gitSha1, sourceStatus } of files) {
    const file = byPath.get(path)?.file;
    // Without a digest to compare it with nobody knows what it is.
    if (file === undefined || (sha256 === null && gitSha1 === null)) continue;
    try {
      const computed = await hashFile(file, { sizeBytes, sha256, gitSha1, count }, signal);
      // A scanner that is away leaves its mark in the report; what is there is not fetched for it again.
      const scan = await scans.report({ path, file, sizeBytes, sourceStatus }, { isSetAside: true }, signal);
      if (scan.verdict === 'BLOCKED') {
        logger.warn({ file, findings: scan.findings }, 'a model in the shared cache is not taken over: a scan has found harm in it');
        return null;
      }
      taken.push({ path, sizeBytes, sha256: computed, gitSha1, scan });
    } catch (error) {
      if (!(error instanceof MismatchFault) && !isMissingFile(error)) throw error;
      logger.warn({ file, reason: error instanceof Error ? error.message : '' }, 'a model in the shared cache is not taken over: a file of it is damaged');
      return null;
    }
  }
  return taken;
}
