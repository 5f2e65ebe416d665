import { abortable, KeyedMutex } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError, isAppError, validationFailed } from '../../shared/errors.ts';
import type { EventBus, LogLine } from '../../shared/event-bus.ts';
import { newId } from '../../shared/ids.ts';
import { assertPageLimit, type Page, type PageRequest } from '../../shared/paging.ts';
import { hashRequest, type IdempotencyClaim } from '../../shared/persistence/idempotency.repository.ts';
import type { Principal } from '../../shared/principal.ts';
import { shareReads } from '../../shared/shared-reads.ts';
import { configFaults, mergeConfig } from './deployment-config.ts';
import { nameFaults, nthName } from './deployment-name.ts';
import { restingStatuses } from './deployment.machine.ts';
import { toView } from './deployment-view.ts';
import type { DeploymentRepository, DeploymentRow, NewDeployment } from './deployment.repository.ts';
import type { LogStore } from './logs/log-store.ts';
import { listOwnModels } from './own-models.ts';
import type { ModelRuntime } from './runtime.ts';
import { probeRuntime } from './runtime-answers.ts';
import type { StartPlan, StartPlanner } from './start-planner.ts';
import type { Controls, Elsewhere } from './elsewhere.ts';
import type { Ownership } from './ownership.ts';
import type { Supervisors } from './supervisors.ts';
import type {
  DeploymentConfig, DeploymentEventView, DeploymentFilter, Deployments, DeploymentView, FitReport, FitRequest, InferenceTarget,
  LogEvent, LogQuery, OwnModelView, ReadyTarget, RuntimeInfo, StartDeployment,
} from './types.ts';

export type DeploymentsServiceDeps = {
  repository: DeploymentRepository;
  runtimes: ReadonlyMap<string, ModelRuntime>;
  planner: StartPlanner;
  supervisors: Supervisors;
  ownership: Ownership;
  elsewhere: Elsewhere;
  /** This service process. */
  self: { readonly id: string; readonly host: string };
  logs: LogStore;
  events: EventBus;
  clock: Clock;
  onUse: (installedModelId: string) => void;
};

/** Names that are tried for a deployment whose name was not asked for. */
const namesTried = 100;
const watchedMax = 100;
const searchLengthMax = 500;

export class DeploymentsService implements Deployments {
  readonly #deps: DeploymentsServiceDeps;
  /** What every request to a model looks up first. */
  readonly #rowsByName: (name: string) => Promise<DeploymentRow | null>;
  readonly #rowsById: (id: string) => Promise<DeploymentRow | null>;
  /** One creation at a time, so that two requests cannot both find the same port free. */
  readonly #creating = new KeyedMutex();

  constructor(deps: DeploymentsServiceDeps) {
    this.#deps = deps;
    this.#rowsByName = shareReads((name) => deps.repository.findByName(name));
    this.#rowsById = shareReads((id) => deps.repository.find(id));
  }

  async start(input: StartDeployment, principal: Principal, signal: AbortSignal): Promise<DeploymentView> {
    signal.throwIfAborted();
    this.#deps.supervisors.assertOpen();
    const { deploymentId } = input;
    if (deploymentId !== undefined) return await this.#startAgain(deploymentId, input, principal, signal);
    const claim = claimOf(input, principal);
    const answerEarlier = async (): Promise<DeploymentView | null> => {
      const earlier = claim && (await this.#deps.repository.findByClaim(claim));
      return earlier && (await this.#view(earlier));
    };
    const known = await answerEarlier();
    if (known) return known;
    // Before the others have to wait: a runtime may be slow to say whether it can be used.
    const plan = await this.#deps.planner.plan(input, principal, signal);
    return await this.#creating.run('', async () => {
      // The same request may have come twice at once, and the first of the two has the port by now.
      const twin = await answerEarlier();
      if (twin) return twin;
      await this.#deps.planner.assertRoom({ id: null, config: plan.config, model: plan.model, override: input.override });
      const { id, created } = await this.#create(plan, { input, principal, claim });
      if (created) {
        this.#publish(id, 'pending');
        this.#deps.supervisors.of(id).adopt();
        if (plan.model) this.#deps.onUse(plan.model.id);
      }
      return await this.get(id);
    });
  }

  async stop(id: string, signal: AbortSignal): Promise<DeploymentView> {
    signal.throwIfAborted();
    await (await this.#controlsOf(await this.#row(id))).stop();
    return await this.get(id);
  }

  async restart(id: string, principal: Principal, signal: AbortSignal): Promise<DeploymentView> {
    signal.throwIfAborted();
    this.#deps.supervisors.assertOpen();
    const row = await this.#row(id);
    await this.#assertStartable(row, principal, signal);
    await (await this.#controlsOf(row)).restart();
    return await this.get(id);
  }

  async update(id: string, change: { name?: string; config?: DeploymentConfig }, signal: AbortSignal): Promise<DeploymentView> {
    signal.throwIfAborted();
    const row = await this.#row(id);
    const runtime = this.#deps.runtimes.get(row.runtime);
    // Nobody could say whether it would honour them.
    if (change.config && !runtime) throw new AppError('RUNTIME_UNAVAILABLE', `There is no runtime ${row.runtime} any more.`);
    const config = change.config ? mergeConfig(row.config, change.config) : undefined;
    const faults = change.name === undefined ? [] : nameFaults(change.name);
    if (config && runtime) faults.push(...configFaults(config, runtime));
    if (config && config.baseUrl !== row.config.baseUrl) {
      // The stored key was given for the one server, and only an ADMIN may name another.
      faults.push({ field: 'config.base_url', message: 'cannot be changed; start another deployment' });
    }
    if (faults.length > 0) throw validationFailed(faults);
    await this.#deps.repository.update(id, { ...(change.name === undefined ? {} : { name: change.name }), ...(config ? { config } : {}) });
    this.#publish(id, row.status);
    return await this.get(id);
  }

  async delete(id: string, signal: AbortSignal): Promise<DeploymentView> {
    const { supervisors, repository, logs } = this.#deps;
    let view: DeploymentView;
    do {
      view = await this.stop(id, signal);
      await abortable((await this.#controlsOf(await this.#row(id))).ended(), signal);
      // Only what rests goes: a start that came meanwhile has an engine, which nobody would end without its row. The removal wins.
    } while (!(await repository.remove(id)));
    supervisors.forget(id);
    await logs.remove(id);
    this.#deps.events.publish('deployment.changed', id, { deploymentId: id, status: 'stopped', removed: true });
    return { ...view, status: 'stopped', endpoint: null };
  }

  async find(id: string): Promise<DeploymentView | null> {
    const row = await this.#deps.repository.find(id);
    return row ? await this.#view(row) : null;
  }

  async findByName(name: string): Promise<DeploymentView | null> {
    const row = await this.#rowsByName(name);
    return row ? await this.#view(row) : null;
  }

  async get(id: string): Promise<DeploymentView> {
    return await this.#view(await this.#row(id));
  }

  async list(filter: DeploymentFilter, page: PageRequest): Promise<Page<DeploymentView>> {
    assertPageLimit(page.limit);
    const rows = await this.#deps.repository.list(filter, page);
    return { ...rows, items: await this.#views(rows.items) };
  }

  async findMany(ids: readonly string[]): Promise<readonly DeploymentView[]> {
    return await this.#views(await this.#deps.repository.findMany(ids));
  }

  async listByModels(modelIds: readonly string[], limitEach: number): Promise<readonly DeploymentView[]> {
    return await this.#views(await this.#deps.repository.listByModels(modelIds, limitEach));
  }

  async events(id: string, page: PageRequest): Promise<Page<DeploymentEventView>> {
    assertPageLimit(page.limit);
    await this.#row(id);
    return await this.#deps.repository.events(id, page);
  }

  async logs(id: string, query: LogQuery, signal: AbortSignal): Promise<Page<LogLine>> {
    assertLogQuery(query);
    await this.#row(id);
    return await this.#deps.logs.read(id, query, signal);
  }

  async *followLogs(id: string, options: Parameters<Deployments['followLogs']>[1], signal: AbortSignal): AsyncIterable<LogEvent> {
    assertLogQuery(options);
    await this.#row(id);
    yield* this.#deps.logs.follow(id, options, signal);
  }

  async *watch(id: string | null, signal: AbortSignal): AsyncIterable<DeploymentView> {
    // Subscribed before the present state is read, so that no change falls between.
    const changes = this.#deps.events.subscribe('deployment.changed', { ...(id === null ? {} : { key: id }), delivery: 'latest' }, signal);
    try {
      yield* await this.#present(id);
      for await (const change of changes) {
        if (change.type === 'resync') {
          yield* await this.#present(id);
          continue;
        }
        const view = change.payload.removed ? null : await this.find(change.payload.deploymentId);
        if (view) yield view;
        else if (id !== null) return;
      }
    } finally {
      await changes.return?.();
    }
  }

  async runtimes(signal: AbortSignal): Promise<readonly RuntimeInfo[]> {
    return await Promise.all([...this.#deps.runtimes.values()].map((runtime) => probeRuntime(runtime, signal)));
  }

  async ownModels(runtimeId: string, signal: AbortSignal): Promise<readonly OwnModelView[]> {
    const runtime = this.#deps.runtimes.get(runtimeId);
    return runtime ? await listOwnModels(runtime, signal) : [];
  }

  async fit(request: FitRequest, signal: AbortSignal): Promise<FitReport> {
    signal.throwIfAborted();
    const runtime = [...this.#deps.runtimes.values()].find((candidate) => candidate.capabilities.needsModel);
    const faults = request.config && runtime ? configFaults(request.config, runtime) : [];
    if (faults.length > 0) throw validationFailed(faults);
    return await this.#deps.planner.fit(request);
  }

  async target(id: string, signal: AbortSignal): Promise<InferenceTarget> {
    return await (await this.#controlsOf(await this.#row(id))).target(signal);
  }

  async ensureReady(id: string, signal: AbortSignal): Promise<ReadyTarget> {
    this.#deps.supervisors.assertOpen();
    return await (await this.#controlsOf(found(await this.#rowsById(id)))).ensureReady(signal);
  }

  async usesInstalledModel(installedModelId: string): Promise<boolean> {
    return await this.#deps.repository.usesInstalledModel(installedModelId);
  }

  async #startAgain(id: string, input: StartDeployment, principal: Principal, signal: AbortSignal): Promise<DeploymentView> {
    const { deploymentId: _id, idempotencyKey: _key, override, ...others } = input;
    const given = Object.values<unknown>(others).filter((value) => value !== undefined);
    if (given.length > 0 || override.length > 0) throw validationFailed([{ field: 'deployment_id', message: 'excludes every other field' }]);
    const row = await this.#row(id);
    await this.#assertStartable(row, principal, signal);
    await (await this.#controlsOf(row)).start();
    if (row.installedModelId) this.#deps.onUse(row.installedModelId);
    return await this.get(id);
  }

  /** What runs already, or is about to, was checked before. */
  async #assertStartable(row: DeploymentRow, principal: Principal, signal: AbortSignal): Promise<void> {
    if (restingStatuses.includes(row.status)) await this.#deps.planner.planAgain(row, principal, signal);
  }

  async #create(plan: StartPlan, call: { input: StartDeployment; principal: Principal; claim: IdempotencyClaim | null }): Promise<{ id: string; created: boolean }> {
    const { input, principal, claim } = call;
    const row: Omit<NewDeployment, 'name'> = {
      id: newId(),
      modelId: plan.modelId,
      variant: plan.model?.variant ?? null,
      installedModelId: plan.model?.id ?? null,
      runtime: plan.runtime.id,
      config: plan.config,
      override: input.override,
      createdBy: principal.owner,
      createdAt: this.#deps.clock.now(),
      instanceId: this.#deps.self.id,
      host: this.#deps.self.host,
      apiKey: input.apiKey ?? null,
    };
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#deps.repository.create({ ...row, name: nthName(plan.name, attempt) }, claim);
      } catch (error) {
        if (!isAppError(error, 'NAME_TAKEN') || !plan.isNameFree || attempt === namesTried) throw error;
      }
    }
  }

  async #present(id: string | null): Promise<readonly DeploymentView[]> {
    if (id !== null) return [await this.get(id)];
    return (await this.list({}, { limit: watchedMax })).items.toReversed();
  }

  async #row(id: string): Promise<DeploymentRow> {
    return found(await this.#deps.repository.find(id));
  }

  async #controlsOf(row: DeploymentRow): Promise<Controls> {
    const { ownership, elsewhere, supervisors } = this.#deps;
    const owner = await ownership.ownerOf(row);
    return owner ? elsewhere.controls(row, owner) : supervisors.of(row.id);
  }

  async #view(row: DeploymentRow): Promise<DeploymentView> {
    return await toView(row, this.#deps.supervisors.peek(row.id));
  }

  async #views(rows: readonly DeploymentRow[]): Promise<DeploymentView[]> {
    return await Promise.all(rows.map((row) => this.#view(row)));
  }

  #publish(id: string, status: string): void {
    this.#deps.events.publish('deployment.changed', id, { deploymentId: id, status });
  }
}

function found(row: DeploymentRow | null): DeploymentRow {
  if (!row) throw new AppError('DEPLOYMENT_NOT_FOUND', 'There is no such deployment.');
  return row;
}

function claimOf(input: StartDeployment, principal: Principal): IdempotencyClaim | null {
  const { idempotencyKey: key, ...request } = input;
  return key === undefined ? null : { owner: principal.owner, operation: 'deployment.start', key, requestHash: hashRequest(request) };
}

function assertLogQuery(query: Partial<LogQuery>): void {
  if (query.limit !== undefined) assertPageLimit(query.limit);
  const faults = [];
  if (query.tail !== undefined && (!Number.isInteger(query.tail) || query.tail < 0 || query.tail > 10_000)) faults.push({ field: 'tail', message: 'must be a whole number from 0 to 10000' });
  if (query.search !== undefined && query.search.length > searchLengthMax) faults.push({ field: 'search', message: `may have ${searchLengthMax} characters at most` });
  if (faults.length > 0) throw validationFailed(faults);
}
