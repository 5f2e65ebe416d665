import { LockMode, UniqueConstraintViolationException, type FilterQuery } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { AppError } from '../../shared/errors.ts';
import { isId } from '../../shared/ids.ts';
import { decodeCursor, encodeCursor, pageOf, type Page, type PageRequest } from '../../shared/paging.ts';
import { claimIdempotencyKey, findIdempotentResult, type IdempotencyClaim } from '../../shared/persistence/idempotency.repository.ts';
import { marksOf, readRow, readRowPage, readRows, type Condition } from '../../shared/persistence/read-rows.repository.ts';
import { StateEvent } from '../../shared/persistence/state-event.entity.ts';
import { transition, type TransitionRequest } from '../../shared/persistence/transition.repository.ts';
import { isStorable } from '../../shared/storable.ts';
import { Deployment } from './deployment.entity.ts';
import { deploymentMachine, occupyingStatuses, restingStatuses, type DeploymentStatus } from './deployment.machine.ts';
import type { DeploymentCommand, EngineAccess } from './elsewhere.ts';
import type { Keepsake } from './runtime.ts';
import type { DeploymentConfig, DeploymentEventView, DeploymentFilter } from './types.ts';

const listName = 'deployments';

/** A row without its secrets, which only `apiKeyOf`, `keepsakeOf` and `accessOf` read. */
export type DeploymentRow = Omit<Deployment, 'apiKey' | 'keepsake' | 'access'>;
export type NewDeployment = Pick<Deployment, 'id' | 'name' | 'modelId' | 'variant' | 'installedModelId' | 'runtime' | 'config' | 'override' | 'createdBy' | 'createdAt' | 'instanceId' | 'host'> & { apiKey: string | null };
export type StatePatch = Partial<Pick<Deployment, 'endpoint' | 'handle' | 'keepsake' | 'access' | 'runs' | 'restarts' | 'recentFailures' | 'lastExit' | 'error' | 'startedAt' | 'desiredStatus'>>;
export type StateChange = { id: string; to: DeploymentStatus; from?: readonly DeploymentStatus[]; patch?: StatePatch; reason?: string; at: Date };

/** Far more than one machine runs; a bound for queries that have no page. */
const manyMax = 2000;
/** All that there are, running or not, so that those queries see every one. */
const deploymentsMax = 1000;

/** The only place that reads and writes deployments' rows; state changes go through `transition`. */
export class DeploymentRepository {
  readonly #em: () => SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = () => em.fork();
  }

  /**
   * Throws OVERLOADED and NAME_TAKEN; the unique index decides, so that two callers at once cannot both win. With a claim that an
   * earlier call has made, nothing is created and the earlier call's id is answered.
   */
  async create(row: NewDeployment, claim: IdempotencyClaim | null): Promise<{ id: string; created: boolean }> {
    try {
      return await this.#em().transactional(async (em) => {
        const earlier = claim ? await claimIdempotencyKey(em, claim, row.id, row.createdAt) : null;
        if (earlier !== null) return { id: earlier, created: false };
        if ((await em.count(Deployment)) >= deploymentsMax) throw new AppError('OVERLOADED', `There are ${deploymentsMax} deployments already; delete some that nobody needs.`, { retryAfterSeconds: 60 });
        em.create(Deployment, { ...initialState, ...row });
        em.create(StateEvent, { kind: deploymentMachine.name, subjectId: row.id, fromState: null, toState: initialState.status, reason: null, at: row.createdAt });
        return { id: row.id, created: true };
      });
    } catch (error) {
      throw asNameTaken(error, row.name);
    }
  }

  async findByClaim(claim: IdempotencyClaim): Promise<DeploymentRow | null> {
    const id = await findIdempotentResult(this.#em(), claim);
    return id === null ? null : await this.find(id);
  }

  async find(id: string): Promise<DeploymentRow | null> {
    return isId(id) ? await readRow(this.#em(), Deployment, [['id = ?', id]]) : null;
  }

  async findByName(name: string): Promise<DeploymentRow | null> {
    // A caller's words: PostgreSQL takes them for a broken connection's.
    return isStorable(name) ? await readRow(this.#em(), Deployment, [['name = ?', name]]) : null;
  }

  async findMany(ids: readonly string[]): Promise<DeploymentRow[]> {
    const valid = ids.filter(isId);
    return valid.length === 0 ? [] : await readRows(this.#em(), Deployment, `where id in (${marksOf(valid)}) order by id desc`, valid);
  }

  async listByModels(modelIds: readonly string[], limitEach: number): Promise<DeploymentRow[]> {
    if (modelIds.length === 0) return [];
    const rows = await this.#em().find(Deployment, { modelId: { $in: [...modelIds] } }, { orderBy: { id: 'desc' }, limit: manyMax });
    return [...Map.groupBy(rows, (row) => row.modelId).values()].flatMap((ofModel) => ofModel.slice(0, limitEach));
  }

  async list(filter: DeploymentFilter, page: PageRequest): Promise<Page<DeploymentRow>> {
    const { status, modelId, ids } = filter;
    const matching: Condition[] = [['status = ?', status], ['model_id = ?', modelId]];
    // Without one there is nothing that could be listed.
    if (ids) matching.push(ids.length > 0 ? [`id in (${marksOf(ids)})`, ...ids] : ['false']);
    return await readRowPage(this.#em(), Deployment, { list: listName, page, matching });
  }

  /** Every deployment that should run or may hold something; read once when the service starts. */
  async listUnsettled(): Promise<DeploymentRow[]> {
    const where: FilterQuery<Deployment> = { $or: [{ status: { $in: [...occupyingStatuses] } }, { status: 'stopped', desiredStatus: 'running' }] };
    return await this.#em().find(Deployment, where, { orderBy: { id: 'asc' } });
  }

  async listOccupying(): Promise<DeploymentRow[]> {
    return await this.#em().find(Deployment, { status: { $in: [...occupyingStatuses] } }, { orderBy: { id: 'asc' }, limit: manyMax });
  }

  /** Containers and the like that rows of this runtime name as theirs; as many as run. */
  async handledIds(runtime: string): Promise<ReadonlySet<string>> {
    const rows = await this.#em().find(Deployment, { runtime, handle: { $ne: null } }, { fields: ['handle'] });
    return new Set(rows.flatMap(({ handle }) => handle?.containerId ?? []));
  }

  async usesInstalledModel(installedModelId: string): Promise<boolean> {
    if (!isId(installedModelId)) return false;
    return (await this.#em().count(Deployment, { installedModelId, status: { $in: [...occupyingStatuses] } })) > 0;
  }

  async apiKeyOf(id: string): Promise<string | null> {
    const row = await this.#em().findOne(Deployment, { id }, { populate: ['apiKey'] });
    return row?.apiKey ?? null;
  }

  async keepsakeOf(id: string): Promise<Keepsake | null> {
    const row = await this.#em().findOne(Deployment, { id }, { populate: ['keepsake'] });
    return row?.keepsake ?? null;
  }

  async accessOf(id: string): Promise<EngineAccess | null> {
    const row = await this.#em().findOne(Deployment, { id }, { populate: ['access'] });
    return row?.access ?? null;
  }

  /** Makes `owner` the process that runs it; false when somebody else was quicker. */
  async claim(id: string, from: string | null, owner: { id: string; host: string }): Promise<boolean> {
    const claimed = { instanceId: owner.id, host: owner.host, command: null };
    return (await this.#em().nativeUpdate(Deployment, { id, instanceId: from }, claimed)) > 0;
  }

  async setCommand(id: string, command: DeploymentCommand): Promise<void> {
    await this.#em().nativeUpdate(Deployment, { id }, { command });
  }

  /** Rows that this process runs and that somebody wants something of. */
  async commandsFor(instanceId: string): Promise<DeploymentRow[]> {
    return await this.#em().find(Deployment, { instanceId, command: { $ne: null } }, { orderBy: { id: 'asc' }, limit: manyMax });
  }

  /** Unless another command has come meanwhile. */
  async clearCommand(id: string, commandId: string): Promise<void> {
    await this.#em().transactional(async (tx) => {
      const row = await tx.findOne(Deployment, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (row?.command?.id === commandId) row.command = null;
    });
  }

  /** The state that it left, or null when the row is gone or the change is not allowed from its state. */
  async change(request: StateChange): Promise<DeploymentStatus | null> {
    // `patch` names columns of the row only, which the generic request cannot see through Deployment's lazy types.
    const full = { ...request, machine: deploymentMachine } as TransitionRequest<DeploymentStatus, Deployment>;
    return await transition(this.#em(), Deployment, full);
  }

  /** Facts that are not state, such as the handle of an engine that has just been made. */
  async patch(id: string, patch: StatePatch): Promise<void> {
    await this.#em().nativeUpdate(Deployment, { id }, patch);
  }

  /** Throws NAME_TAKEN. */
  async update(id: string, change: { name?: string; config?: DeploymentConfig }): Promise<void> {
    try {
      await this.#em().nativeUpdate(Deployment, { id }, change);
    } catch (error) {
      throw asNameTaken(error, change.name ?? '');
    }
  }

  /** False when it does not rest, and then it stays. One that is not there is fine. */
  async remove(id: string): Promise<boolean> {
    const em = this.#em();
    return (await em.nativeDelete(Deployment, { id, status: { $in: [...restingStatuses] } })) > 0 || (await em.count(Deployment, { id })) === 0;
  }

  async events(id: string, page: PageRequest): Promise<Page<DeploymentEventView>> {
    const before = page.cursor === undefined ? undefined : numberCursor(id, page.cursor);
    const where: FilterQuery<StateEvent> = { kind: deploymentMachine.name, subjectId: id, ...(before === undefined ? {} : { id: { $lt: before } }) };
    const rows = await this.#em().find(StateEvent, where, { orderBy: { id: 'desc' }, limit: page.limit + 1 });
    const { items, ...rest } = pageOf(rows, page.limit, null, (row) => encodeCursor([id, String(row.id)]));
    return { ...rest, items: items.map(toEvent) };
  }
}

const initialState = {
  status: 'pending',
  desiredStatus: 'running',
  endpoint: null,
  handle: null,
  keepsake: null,
  access: null,
  command: null,
  runs: 0,
  restarts: 0,
  recentFailures: [],
  lastExit: null,
  error: null,
  startedAt: null,
} as const;

function toEvent(row: StateEvent): DeploymentEventView {
  // Rows of this kind are written from the machine's own states.
  return { id: String(row.id), fromStatus: row.fromState as DeploymentStatus | null, toStatus: row.toState as DeploymentStatus, reason: row.reason ?? null, at: row.at };
}

function numberCursor(deploymentId: string, cursor: string): bigint {
  const [owner, id] = decodeCursor(cursor, 2);
  // Decoding nonsense gives the error that callers know for a bad cursor.
  if (owner !== deploymentId || typeof id !== 'string' || !/^\d{1,18}$/.test(id)) decodeCursor('', 2);
  return BigInt(String(id));
}

function asNameTaken(error: unknown, name: string): unknown {
  if (!(error instanceof UniqueConstraintViolationException)) return error;
  return new AppError('NAME_TAKEN', `There is already a deployment named ${name}.`, { details: { name }, cause: error });
}
