import { StopReason } from '../../shared/abort.ts';
import type { Clock } from '../../shared/clock.ts';
import { AppError } from '../../shared/errors.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import { newId } from '../../shared/ids.ts';
import type { Instances, InstanceView } from '../../shared/instances.ts';
import { restingStatuses } from './deployment.machine.ts';
import { keepAliveMsOf } from './deployment-config.ts';
import type { DeploymentRepository, DeploymentRow } from './deployment.repository.ts';
import { assertComing } from './supervisor-answers.ts';
import type { Supervisor } from './supervisor.ts';
import type { StreamingHttp } from '../../shared/streaming-http.ts';
import type { InferenceTarget, ReadyTarget } from './types.ts';

/** What use cases need of whoever runs a deployment, be it here or elsewhere. */
export type Controls = Pick<Supervisor, 'start' | 'stop' | 'restart' | 'ended' | 'target' | 'ensureReady'>;

export type CommandType = 'start' | 'stop' | 'restart';
export type DeploymentCommand = { id: string; type: CommandType };

/** How to reach a running model; the secret of its engine is in it. */
export type EngineAccess = { baseUrl: string; model: string; headers: Readonly<Record<string, string>>; contextSize: number | null };

export type ElsewhereDeps = {
  repository: DeploymentRepository;
  instances: Instances;
  events: EventBus;
  clock: Clock;
  /** How the engine is spoken to where plain HTTP falls short. */
  reach: (row: DeploymentRow, access: EngineAccess) => Promise<StreamingHttp | undefined>;
};

const lookMs = 100;
/** The other process looks by itself every 2 s, and a stop of its own may hold it up. */
const answerMsMax = 15_000;
/** A change is usually announced; this is for the others. */
const changeLookMs = 1_000;
const reachable: readonly string[] = ['running', 'unhealthy'];

/** Deployments that other processes run: commands go by the row, and their engines are reached where they are. */
export class Elsewhere {
  readonly #deps: ElsewhereDeps;
  /** One watch for each engine that is used from here. Bounded by the deployments that run. */
  readonly #watches = new Map<string, { run: number; owner: string; lost: AbortController }>();
  readonly #closing = new AbortController();

  constructor(deps: ElsewhereDeps) {
    this.#deps = deps;
  }

  controls({ id }: Pick<DeploymentRow, 'id'>, owner: InstanceView): Controls {
    return {
      start: () => this.#command(id, 'start', owner),
      stop: () => this.#command(id, 'stop', owner),
      restart: () => this.#command(id, 'restart', owner),
      ended: () => this.#untilEnded(id, owner),
      target: (signal) => this.#target(id, owner, signal),
      ensureReady: (signal) => this.#ensureReady(id, owner, signal),
    };
  }

  close(): void {
    this.#closing.abort(new StopReason('shutdown'));
    for (const { lost } of this.#watches.values()) lost.abort(new StopReason('shutdown'));
  }

  /** Resolves when the other process has taken the command, so that the row shows its first effect. */
  async #command(id: string, type: CommandType, owner: InstanceView): Promise<void> {
    const { repository, events, clock } = this.#deps;
    const command = { id: newId(), type };
    await repository.setCommand(id, command);
    events.publish('deployment.command', id, { deploymentId: id });
    for (let waitedMs = 0; waitedMs < answerMsMax; waitedMs += lookMs) {
      const row = await repository.find(id);
      if (row?.command?.id !== command.id) return;
      await this.#assertAlive(owner);
      await clock.sleep(lookMs);
    }
    throw new AppError('RUNTIME_UNAVAILABLE', `The service process ${owner.pid} on ${owner.host}, which runs this deployment, does not answer.`, { retryAfterSeconds: 5 });
  }

  async #untilEnded(id: string, owner: InstanceView): Promise<void> {
    for (;;) {
      const row = await this.#deps.repository.find(id);
      if (!row || restingStatuses.includes(row.status) || row.desiredStatus === 'running') return;
      await this.#assertAlive(owner);
      await this.#deps.clock.sleep(lookMs);
    }
  }

  async #assertAlive({ id, host, pid }: InstanceView): Promise<void> {
    if (await this.#deps.instances.isAlive(id)) return;
    throw new AppError('RUNTIME_UNAVAILABLE', `The service process ${pid} on ${host}, which ran this deployment, has just died; it is being taken over.`, { retryAfterSeconds: 5 });
  }

  async #ensureReady(id: string, owner: InstanceView, signal: AbortSignal): Promise<ReadyTarget> {
    const row = await this.#deps.repository.find(id);
    const isResting = row?.status === 'stopped' && row.desiredStatus === 'running' && keepAliveMsOf(row.config) !== null;
    if (isResting) await this.#command(id, 'start', owner);
    return { ...(await this.#target(id, owner, signal)), release: () => undefined };
  }

  async #target(id: string, owner: InstanceView, signal: AbortSignal): Promise<InferenceTarget> {
    const { repository, clock } = this.#deps;
    for (;;) {
      signal.throwIfAborted();
      const row = await repository.find(id);
      assertComing(row, { isWanted: row?.desiredStatus === 'running' && row.status !== 'stopped', retryInMs: 0 });
      if (row && reachable.includes(row.status)) {
        const access = await repository.accessOf(id);
        if (access) return await this.#toTarget(row, access, owner);
      }
      await this.#assertAlive(owner);
      await clock.sleep(changeLookMs / 4, signal);
    }
  }

  async #toTarget(row: DeploymentRow, access: EngineAccess, owner: InstanceView): Promise<InferenceTarget> {
    if (!owner.isHere && isLoopback(access.baseUrl)) {
      throw new AppError('RUNTIME_UNAVAILABLE', `${row.name} runs on ${owner.host} and can be used through the service there only.`, { details: { host: owner.host } });
    }
    const http = await this.#deps.reach(row, access);
    return { deploymentId: row.id, name: row.name, modelId: row.modelId ?? null, ...access, ...(http ? { http } : {}), lost: this.#watch(row, owner) };
  }

  /** A signal that aborts when this run of the engine is over. */
  #watch(row: DeploymentRow, owner: InstanceView): AbortSignal {
    const known = this.#watches.get(row.id);
    if (known?.run === row.runs && known.owner === owner.id && !known.lost.signal.aborted) return known.lost.signal;
    known?.lost.abort(new StopReason('superseded'));
    const watch = { run: row.runs, owner: owner.id, lost: new AbortController() };
    this.#watches.set(row.id, watch);
    void this.#untilOver(row, watch.lost.signal).then((why) => {
      watch.lost.abort(why);
      if (this.#watches.get(row.id) === watch) this.#watches.delete(row.id);
    }, () => undefined);
    return watch.lost.signal;
  }

  /** Resolves with the reason. */
  async #untilOver({ id, runs, name }: DeploymentRow, signal: AbortSignal): Promise<Error> {
    const { repository, events, clock } = this.#deps;
    const own = AbortSignal.any([signal, this.#closing.signal]);
    const changes = events.subscribe('deployment.changed', { key: id, delivery: 'latest' }, own);
    for (let change = changes.next(); ; ) {
      const isNews = await Promise.race([change.then(() => true), clock.sleep(changeLookMs, own).then(() => false)]);
      if (own.aborted) return new StopReason('superseded');
      if (isNews) change = changes.next();
      const row = await repository.find(id).catch(() => 'unknown' as const);
      if (row === 'unknown' || (row?.runs === runs && reachable.includes(row.status))) continue;
      await changes.return?.();
      return row?.desiredStatus === 'running' ? new AppError('CRASHED', `${name} ended while it was used.`) : new StopReason('stopped');
    }
  }
}

function isLoopback(url: string): boolean {
  return /^(localhost|127(\.\d+){3}|\[::1\])$/.test(new URL(url).hostname);
}
