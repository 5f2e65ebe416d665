import { AppError, isAppError, validationFailed, type FieldFault } from '../../shared/errors.ts';
import { hasRole, type Principal } from '../../shared/principal.ts';
import { modelIdOf, parseOwnModelRef } from '../catalog/model-ref.ts';
import type { InstalledModels, InstalledModelView } from '../downloads/types.ts';
import { configFaults } from './deployment-config.ts';
import { nameFaults, nameFromModel } from './deployment-name.ts';
import type { DeploymentRepository, DeploymentRow } from './deployment.repository.ts';
import { doesNotFit, type FitChecker } from './fit.ts';
import { cardFaults, type GraphicsCard } from './graphics-cards.ts';
import { chooseInstalled, modelFilesOf, type WantedModel } from './installed-choice.ts';
import { findOwnModel, isOwnModelRow } from './own-models.ts';
import { assertPortFree } from './ports.ts';
import type { ModelRuntime } from './runtime.ts';
import { assertAvailable } from './runtime-answers.ts';
import type { DeploymentConfig, FitReport, FitRequest, StartDeployment } from './types.ts';

export type PlannerDeps = {
  runtimes: ReadonlyMap<string, ModelRuntime>;
  installed: InstalledModels;
  repository: DeploymentRepository;
  fit: FitChecker;
  /** The machine's graphics cards. */
  gpus: () => Promise<readonly GraphicsCard[]>;
  /** Memory of engines that would be ended to make room. */
  evictableBytes: (exceptFor: string | null) => Promise<number>;
};

/** What a request to start comes to, everything checked that can be known before the engine is started. */
export type StartPlan = {
  runtime: ModelRuntime;
  config: DeploymentConfig;
  /** Null where it needs none. */
  modelId: string | null;
  /** Null where it needs none, and where it is the runtime's own. */
  model: InstalledModelView | null;
  name: string;
  /** The name was not asked for, so another one will do where it is taken. */
  isNameFree: boolean;
};

/** Reads and checks requests to start; starts nothing. */
export class StartPlanner {
  readonly #deps: PlannerDeps;

  constructor(deps: PlannerDeps) {
    this.#deps = deps;
  }

  /** All but `assertRoom`, which is for the moment of the creation. */
  async plan(input: StartDeployment, principal: Principal, signal: AbortSignal): Promise<StartPlan> {
    const config = input.config ?? {};
    const runtime = this.#runtimeFor(input);
    if (!runtime) throw validationFailed([{ field: 'runtime', message: `must be one of ${[...this.#deps.runtimes.keys()].join(', ')}` }]);
    assertAllowed(principal, runtime, input.override);
    const faults = [...inputFaults(input, runtime), ...configFaults(config, runtime)];
    if (faults.length > 0) throw validationFailed(faults);
    await assertAvailable(runtime, signal);
    await this.#assertCards(runtime, config);
    const { modelId, model } = runtime.capabilities.needsModel ? await this.#chooseModel(input, runtime, signal) : { modelId: null, model: null };
    const name = input.name ?? nameFromModel(modelId?.replace(/^[^:]*:/, '') ?? config.model ?? runtime.id);
    return { runtime, config, modelId, model, name, isNameFree: input.name === undefined };
  }

  /** The same checks for a deployment that is there already. */
  async planAgain(row: DeploymentRow, principal: Principal, signal: AbortSignal): Promise<void> {
    const runtime = this.#deps.runtimes.get(row.runtime);
    if (!runtime) throw new AppError('RUNTIME_UNAVAILABLE', `There is no runtime ${row.runtime} any more.`);
    assertAllowed(principal, runtime, []);
    await assertAvailable(runtime, signal);
    await this.#assertCards(runtime, row.config);
    const model = await this.modelOf(row);
    if (model === null && runtime.capabilities.needsModel && (await findOwnModel(row.modelId ?? '', runtime, signal)) === null) throw notThere(row.modelId);
    await this.assertRoom({ id: row.id, config: row.config, model, override: row.override });
  }

  /** Throws PORT_IN_USE, MODEL_DOES_NOT_FIT, UNSUPPORTED_MODEL. */
  async assertRoom(wanted: { id: string | null; config: DeploymentConfig; model: InstalledModelView | null; override: readonly string[] }): Promise<void> {
    const { id, config, model, override } = wanted;
    const others = (await this.#deps.repository.listOccupying()).filter((row) => row.id !== id);
    await assertPortFree(config.port, others);
    if (!model) return;
    const report = await this.#deps.fit.report(modelFilesOf(model), config, id ?? undefined);
    if (report.verdict !== 'does_not_fit' || override.includes('fit')) return;
    if (report.neededBytes > report.availableBytes + (await this.#deps.evictableBytes(id))) throw doesNotFit(report);
  }

  async fit(request: FitRequest): Promise<FitReport> {
    const config = request.config ?? {};
    const model = await this.#choose(request, config);
    return await this.#deps.fit.report(modelFilesOf(model), config);
  }

  /** Null where it needs none, or has one of its runtime's own. Throws MODEL_NOT_INSTALLED when it has been removed since. */
  async modelOf(row: DeploymentRow): Promise<InstalledModelView | null> {
    const runtime = this.#deps.runtimes.get(row.runtime);
    if (runtime?.capabilities.needsModel !== true || isOwnModelRow(row, runtime)) return null;
    const model = row.installedModelId ? await this.#deps.installed.find(row.installedModelId) : null;
    if (model?.verification !== 'verified') throw notThere(row.modelId);
    return model;
  }

  async #assertCards({ capabilities }: ModelRuntime, { gpuDevices = [] }: DeploymentConfig): Promise<void> {
    if (gpuDevices.length === 0 || capabilities.isElsewhere === true) return;
    const faults = cardFaults(gpuDevices, await this.#deps.gpus());
    if (faults.length > 0) throw validationFailed(faults);
  }

  #runtimeFor(input: StartDeployment): ModelRuntime | undefined {
    if (input.runtime !== undefined) return this.#deps.runtimes.get(input.runtime);
    // The first one that loads GGUF and needs no administrator is the default, in the order of their registration.
    return [...this.#deps.runtimes.values()].find((runtime) => runtime.capabilities.needsModel && !runtime.capabilities.adminOnly);
  }

  /** What is installed here was checked here, so it comes before what the runtime's server has of the same name. */
  async #chooseModel(input: StartDeployment, runtime: ModelRuntime, signal: AbortSignal): Promise<{ modelId: string; model: InstalledModelView | null }> {
    const { config = {}, modelId = '', variant } = input;
    const formats = runtime.formatsFor?.(config) ?? runtime.capabilities.formats;
    try {
      const model = await this.#choose({ ...input, modelId }, config, { formats, runtimeName: runtime.name });
      return { modelId: model.modelId, model };
    } catch (error) {
      if (!isAppError(error, 'MODEL_NOT_INSTALLED')) throw error;
      // The server names variants by tags.
      const { source, name, revision } = parseOwnModelRef(modelId);
      const own = modelIdOf({ source, name, revision: revision ?? variant ?? null });
      if ((await findOwnModel(own, runtime, signal)) === null) throw error;
      return { modelId: own, model: null };
    }
  }

  async #choose(wanted: FitRequest, config: DeploymentConfig, runnable: Pick<WantedModel, 'formats' | 'runtimeName'> = {}): Promise<InstalledModelView> {
    const modelId = modelIdOf(parseOwnModelRef(wanted.modelId));
    const installed = await this.#deps.installed.findByModel(modelId);
    const availableBytes = await this.#deps.fit.availableBytes(config);
    return chooseInstalled(installed, { modelId, ...runnable, ...(wanted.variant === undefined ? {} : { variant: wanted.variant }) }, availableBytes);
  }
}

function notThere(modelId: string | null | undefined): AppError {
  return new AppError('MODEL_NOT_INSTALLED', `${modelId ?? 'The model'} is not installed any more, or its files are damaged.`);
}

function assertAllowed(principal: Principal, runtime: ModelRuntime, override: readonly string[]): void {
  if (!hasRole(principal, 'OPERATOR')) throw new AppError('FORBIDDEN', 'Only an OPERATOR or ADMIN may start deployments.');
  if (hasRole(principal, 'ADMIN')) return;
  if (runtime.capabilities.adminOnly) throw new AppError('FORBIDDEN', `Only an ADMIN may start deployments with the runtime ${runtime.id}.`);
  if (override.length > 0) throw new AppError('FORBIDDEN', 'Only an ADMIN may set a rule aside.');
}

function inputFaults(input: StartDeployment, runtime: ModelRuntime): FieldFault[] {
  const faults: FieldFault[] = input.name === undefined ? [] : nameFaults(input.name);
  const { needsModel } = runtime.capabilities;
  if (needsModel && input.modelId === undefined) faults.push({ field: 'model_id', message: 'is required' });
  if (!needsModel && input.modelId !== undefined) faults.push({ field: 'model_id', message: `is not used by the runtime ${runtime.id}` });
  if (!needsModel && input.variant !== undefined) faults.push({ field: 'variant', message: `is not used by the runtime ${runtime.id}` });
  if (needsModel && input.apiKey !== undefined) faults.push({ field: 'config.api_key', message: 'is for the runtime remote only' });
  if (input.apiKey !== undefined && !/^[\x21-\x7e]{1,2000}$/.test(input.apiKey)) faults.push({ field: 'config.api_key', message: 'must be 1 to 2000 printable ASCII characters without spaces' });
  if (input.override.some((rule: string) => rule !== 'fit')) faults.push({ field: 'override', message: 'must name only the rule "fit"' });
  return faults;
}
