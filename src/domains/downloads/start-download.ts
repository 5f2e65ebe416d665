import { isAbort } from '../../shared/abort.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { modelIdOf, parseModelRef } from '../catalog/model-ref.ts';
import type { ModelDetail, ModelRef } from '../catalog/types.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError, type FieldFault, isAppError, type StoredError, toStoredError, validationFailed } from '../../shared/errors.ts';
import { hashRequest, type IdempotencyClaim } from '../../shared/persistence/idempotency.repository.ts';
import { hasRole, type Principal } from '../../shared/principal.ts';
import type { DownloadRepository, NewTask } from './download.repository.ts';
import type { InstalledModelRepository, InstalledRow } from './installed-model.repository.ts';
import { lookUpModel, sourceOf, type Sources } from './model-lookup.ts';
import type { OllamaStore } from './ollama-store.ts';
import { type DownloadPlan, filesKeyOf, hashOf, patternFaults } from './planning/plan-download.ts';
import { planForTarget, targetFaults } from './planning/plan-for-target.ts';
import { ollamaNameOf } from './run-ollama-pull.ts';
import type { DiskBudget } from './storage/disk-budget.ts';
import { areFilesThere } from './storage/model-files.ts';
import type { ModelLayout } from './storage/model-layout.ts';
import type { StartDownload } from './types.ts';

export type StartOptions = {
  repository: DownloadRepository;
  installed: InstalledModelRepository;
  catalog: Catalog;
  sources: Sources;
  budget: DiskBudget;
  ollama: OllamaStore;
  clock: Clock;
  layoutOf: (task: { modelId: string; requestedRevision: string | null }, revision: string) => ModelLayout;
};

type Request = { input: StartDownload; ref: ModelRef; modelId: string; requestedRevision: string | null; requestKey: string };
type Lookup = { plan: DownloadPlan } | { plan: null; error: StoredError | null; retryAt: Date | null };

/** A caller waits this long for the source; a slower one answers to the task. */
const lookUpMs = 2_000;
const retryAfterMs = 5_000;
const forTheMoment = ['SOURCE_UNAVAILABLE', 'RATE_LIMITED', 'NETWORK_FAILED', 'OVERLOADED'] as const;

/** Makes the task, or finds the one that does the same. */
export async function startDownload(input: StartDownload, principal: Principal, options: StartOptions, signal: AbortSignal): Promise<{ id: string; created: boolean }> {
  const { repository, installed, budget, layoutOf, clock } = options;
  const request = readRequest(input, principal);
  const claim = claimOf(input, principal);
  const earlier = claim && (await repository.findByClaim(claim));
  if (typeof earlier === 'string') return { id: earlier, created: false };
  sourceOf(options.sources, request.ref);
  const lookup = await lookUp(request, options, signal);
  const common = commonColumns(request, principal);
  if (lookup.plan === null) {
    const status = lookup.error ? 'retrying' : 'queued';
    return await repository.create({ ...common, ...lookup, status, filesKey: null, installedModelId: null }, claim);
  }
  const { plan } = lookup;
  const filesKey = filesKeyOf(request.modelId, plan, input.target);
  const planned = { ...common, plan, filesKey, variant: plan.variant, error: null, retryAt: null };
  const same = await repository.findUnfinished(request.requestKey, filesKey);
  if (same && !claim) return { id: same.id, created: false };
  if (input.target === 'ollama') {
    const isThere = !same && (await isInOllama(request, plan, options, signal));
    return await repository.create({ ...planned, status: isThere ? 'completed' : 'queued', installedModelId: null }, claim);
  }
  const present = await findInstalled(await installed.findByModels([request.modelId]), plan);
  if (present && !same) {
    await installed.touch(present.id, clock.now());
    return await repository.create({ ...planned, status: 'completed', installedModelId: present.id }, claim);
  }
  const layout = layoutOf(request, plan.revision);
  if (!same) await budget.assertRoomForNew(layout.root, plan.files.map((file) => ({ place: layout.place(file), sizeBytes: file.sizeBytes })));
  return await repository.create({ ...planned, status: 'queued', installedModelId: null }, claim);
}

function commonColumns({ input, modelId, requestedRevision, requestKey }: Request, principal: Principal) {
  return {
    modelId,
    requestedRevision,
    requestKey,
    variant: input.variant ?? null,
    include: input.include ?? null,
    exclude: input.exclude ?? null,
    target: input.target,
    priority: input.priority,
    maxBytesPerSecond: input.maxBytesPerSecond ?? null,
    override: [...new Set(input.override)],
    createdBy: principal.keyId,
  } satisfies Partial<NewTask>;
}

function claimOf(input: StartDownload, principal: Principal): IdempotencyClaim | null {
  const { idempotencyKey, ...asked } = input;
  return idempotencyKey === undefined ? null : { owner: principal.owner, operation: 'downloads.start', key: idempotencyKey, requestHash: hashRequest(asked) };
}

function readRequest(input: StartDownload, principal: Principal): Request {
  const ref = parseModelRef(input.modelId);
  const faults = inputFaults(input, ref);
  if (faults.length > 0) throw validationFailed(faults);
  if (input.override.length > 0 && !hasRole(principal, 'ADMIN')) throw new AppError('FORBIDDEN', 'Only an administrator may set a rule aside.');
  const requestedRevision = input.revision ?? (ref.source === 'ollama' ? null : ref.revision);
  const whole = { ...ref, revision: requestedRevision ?? ref.revision };
  // Read again with the revision in it: what comes from outside is a part of paths later on.
  const checked = requestedRevision === null || ref.source === 'ollama' ? whole : parseModelRef(`${ref.source}:${ref.name}@${requestedRevision}`);
  const modelId = modelIdOf(checked);
  const requestKey = hashOf([modelId, requestedRevision, input.variant ?? null, JSON.stringify(input.include ?? null), JSON.stringify(input.exclude ?? null), input.target]);
  return { input, ref: checked, modelId, requestedRevision, requestKey };
}

const priorityMax = 100;
const textMax = 200;

function inputFaults(input: StartDownload, ref: ModelRef): FieldFault[] {
  const { include = null, exclude = null, variant, revision, priority, maxBytesPerSecond, idempotencyKey } = input;
  const faults: FieldFault[] = [...patternFaults('include', include), ...patternFaults('exclude', exclude), ...targetFaults({ ...input, revision: revision ?? ref.revision }, ref)];
  const check = (isFine: boolean, field: string, message: string): void => {
    if (!isFine) faults.push({ field, message });
  };
  check(Number.isInteger(priority) && Math.abs(priority) <= priorityMax, 'priority', `must be a whole number from -${priorityMax} to ${priorityMax}`);
  check(maxBytesPerSecond === undefined || (Number.isSafeInteger(maxBytesPerSecond) && maxBytesPerSecond > 0), 'max_bytes_per_second', 'must be a whole number above 0');
  check(variant === undefined || isText(variant), 'variant', `must have 1 to ${textMax} characters`);
  check(idempotencyKey === undefined || isText(idempotencyKey), 'idempotency_key', `must have 1 to ${textMax} characters`);
  check(revision === undefined || ref.revision === null || ref.revision === revision, 'revision', 'the model id names another revision');
  check(revision === undefined || ref.source !== 'ollama' || revision === ref.revision, 'revision', 'an Ollama tag is a part of the model id');
  return faults;
}

function isText(value: string): boolean {
   
  return value.length > 0 && value.length <= textMax && !/[\u0000-\u001f]/.test(value);
}

/** The plan, or why the task begins without one. What will not be better later is thrown. */
async function lookUp(request: Request, options: StartOptions, signal: AbortSignal): Promise<Lookup> {
  const { catalog, clock } = options;
  const limit = AbortSignal.timeout(lookUpMs);
  const own = AbortSignal.any([signal, limit]);
  let detail: ModelDetail;
  try {
    detail = await lookUpModel(catalog, request, own);
  } catch (error) {
    signal.throwIfAborted();
    if (limit.aborted || isAppError(error, 'TIMEOUT') || isAbort(error)) return { plan: null, error: null, retryAt: null };
    if (!isAppError(error, ...forTheMoment)) throw error;
    const retryAt = new Date(clock.now().getTime() + Math.max(retryAfterMs, (error.retryAfterSeconds ?? 0) * 1000));
    return { plan: null, error: toStoredError(error, 'SOURCE_UNAVAILABLE', error.message), retryAt };
  }
  const { variant = null, include = null, exclude = null, override } = request.input;
  const plan = planForTarget(detail, { variant, include, exclude, override }, { target: request.input.target, ref: request.ref });
  if (detail.gated === true) await assertAccess(request, plan, options, { own, limit, signal });
  return { plan };
}

/** A gated model shows its page to everybody: only asking for a file tells whether we may have it. */
async function assertAccess(request: Request, plan: DownloadPlan, { sources }: StartOptions, signals: { own: AbortSignal; limit: AbortSignal; signal: AbortSignal }): Promise<void> {
  const largest = plan.files.at(-1);
  if (!largest) return;
  const { path, sha256 } = largest;
  try {
    await sourceOf(sources, request.ref).locate({ ref: request.ref, revision: plan.revision, path, sha256: sha256 === null ? null : `sha256:${sha256}` }, signals.own);
  } catch (error) {
    signals.signal.throwIfAborted();
    if (signals.limit.aborted || isAppError(error, 'TIMEOUT', ...forTheMoment)) return;
    throw error;
  }
}

/** Only manifests of Ollama's own registry have digests to compare; the rest is pulled again, which is quick when it is there. */
async function isInOllama({ modelId, ref }: Request, plan: DownloadPlan, { ollama }: StartOptions, signal: AbortSignal): Promise<boolean> {
  const digest = await ollama.digestOf(ollamaNameOf(ollama, { modelId, quantization: plan.quantization }), signal);
  return ref.source === 'ollama' && digest === plan.revision;
}

/** One installed model that has every file of the plan, on the disk and not only in its row. */
async function findInstalled(rows: readonly InstalledRow[], plan: DownloadPlan): Promise<InstalledRow | null> {
  for (const row of rows.filter(({ revision }) => revision === plan.revision)) {
    const byPath = new Map(row.files.map((file) => [file.path, file]));
    const hasAll = plan.files.every(({ path, sizeBytes, sha256, gitSha1 }) => {
      const file = byPath.get(path);
      return file?.sizeBytes === sizeBytes && (sha256 === null || file.sha256 === sha256) && (gitSha1 === null || file.gitSha1 === gitSha1);
    });
    if (hasAll && (await areFilesThere(row.folder, plan.files))) return row;
  }
  return null;
}
