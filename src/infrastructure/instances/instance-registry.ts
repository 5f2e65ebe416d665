import { hostname } from 'node:os';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { StopReason } from '../../shared/abort.ts';
import { abortable } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import { newId } from '../../shared/ids.ts';
import type { Instances, InstanceView, OnInstanceDeath } from '../../shared/instances.ts';
import type { Logger } from '../../shared/logger.ts';
import { identifyMachine } from '../../platform/machine-identity.ts';
import { identifyProcess, isSameProcess } from '../../platform/process-identity.ts';
import { ServiceInstanceRepository, type InstanceRow, type NewInstance } from './service-instance.repository.ts';

export type InstanceRegistryOptions = {
  em: SqlEntityManager;
  clock: Clock;
  logger: Logger;
  /** No other process can work on this database: nobody needs to be told that we live, and all others are dead. */
  isSole: boolean;
  beatEveryMs?: number;
  deadAfterMs?: number;
};

/** Takeover is promised within 15 s, and a busy process may miss a beat or two. */
const beatEveryMsDefault = 2_000;
const deadAfterMsDefault = 10_000;
/** A beat that takes longer counts as missed. */
const beatTimeoutMs = 5_000;
/** Rows of the dead are kept for those who have still to hear of it, and to say whose something was. */
const rememberMs = 7 * 86_400_000;

/** The processes of the service that share one database, by a heartbeat in it. */
export class InstanceRegistry implements Instances {
  readonly self: { readonly id: string; readonly host: string };
  /** Names the database that all of them work on. */
  readonly installationId: string;
  readonly #own: NewInstance;
  readonly #repository: ServiceInstanceRepository;
  readonly #options: InstanceRegistryOptions;
  readonly #deadAfterMs: number;
  readonly #listeners = new Set<OnInstanceDeath>();
  /** Dead ones whose death every listener of this process has dealt with. */
  readonly #settled = new Set<string>();
  readonly #stopping = new AbortController();
  #beating: Promise<void> = Promise.resolve();
  #isWatching = false;
  #lastBeatMs: number;
  /** Since when this process's own beats have come in time. */
  #steadySinceMs: number;

  private constructor(options: InstanceRegistryOptions, repository: ServiceInstanceRepository, own: NewInstance, installationId: string) {
    this.#options = options;
    this.#own = own;
    this.self = { id: own.id, host: own.host };
    this.installationId = installationId;
    this.#repository = repository;
    this.#deadAfterMs = options.deadAfterMs ?? deadAfterMsDefault;
    this.#lastBeatMs = options.clock.monotonicMs();
    // At a start nobody waits: who has not been heard of for so long was so before we came.
    this.#steadySinceMs = this.#lastBeatMs - this.#deadAfterMs;
  }

  /** Enters this process as a new one, and shows from now on that it lives. */
  static async register(options: InstanceRegistryOptions): Promise<InstanceRegistry> {
    const [machine, self] = await Promise.all([identifyMachine(), identifyProcess(process.pid)]);
    const own = { id: newId(), host: hostname(), machine, pid: process.pid, processStart: self?.startTime ?? '' };
    const repository = new ServiceInstanceRepository(options.em);
    const registry = new InstanceRegistry(options, repository, own, await repository.installationId(newId()));
    await repository.beat(own);
    for (const { id, isAlive } of await registry.#look()) if (!isAlive) registry.#settled.add(id);
    if (!options.isSole) registry.#beating = registry.#run();
    return registry;
  }

  /**
   * From now on listeners are told of the deaths since `register`. Of earlier ones they are not: whoever starts looks
   * by itself at what the dead have left.
   */
  watch(): void {
    this.#isWatching = true;
  }

  /** Says good-bye: nobody is told of a death. */
  async stop(): Promise<void> {
    this.#stopping.abort(new StopReason('shutdown'));
    await this.#beating;
    await this.#repository.remove(this.self.id);
  }

  async isAlive(id: string): Promise<boolean> {
    if (id === this.self.id) return true;
    if (this.#options.isSole) return false;
    return (await this.find(id))?.isAlive ?? false;
  }

  get isSole(): boolean {
    return this.#options.isSole;
  }

  async livesOn(host: string): Promise<boolean> {
    return (await this.#look()).some((instance) => instance.host === host && instance.isAlive);
  }

  async find(id: string): Promise<InstanceView | null> {
    return (await this.#look()).find((instance) => instance.id === id) ?? null;
  }

  onDeath(listener: OnInstanceDeath): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async #run(): Promise<void> {
    const { signal } = this.#stopping;
    const { clock, logger, beatEveryMs = beatEveryMsDefault } = this.#options;
    while (await hasPassed(clock.sleep(beatEveryMs, signal))) {
      try {
        await this.#beat(AbortSignal.any([signal, AbortSignal.timeout(beatTimeoutMs)]));
        if (this.#isWatching && this.#isSteady()) await this.#tellDeaths();
      } catch (err) {
        logger.warn({ err }, 'this process could not say that it lives; it tries again');
      }
    }
  }

  async #beat(signal: AbortSignal): Promise<void> {
    await abortable(this.#repository.beat(this.#own), signal);
    const nowMs = this.#options.clock.monotonicMs();
    if (nowMs - this.#lastBeatMs >= this.#deadAfterMs) {
      this.#steadySinceMs = nowMs;
      this.#options.logger.warn({ silentMs: Math.round(nowMs - this.#lastBeatMs) }, 'this process or the database stood still: others may have taken over its work');
    }
    this.#lastBeatMs = nowMs;
  }

  /** Who stood still itself, or had no database, cannot tell whether the others are as late for the same reason. */
  #isSteady(): boolean {
    return this.#lastBeatMs - this.#steadySinceMs >= this.#deadAfterMs;
  }

  async #tellDeaths(): Promise<void> {
    const rows = await this.#look();
    for (const id of this.#settled) if (!rows.some((row) => row.id === id && !row.isAlive)) this.#settled.delete(id);
    for (const instance of rows) {
      if (instance.isAlive || this.#settled.has(instance.id)) continue;
      this.#options.logger.warn({ instance: instance.id, host: instance.host, pid: instance.pid }, 'another process of the service has died; what it did is taken over');
      const results = await Promise.allSettled([...this.#listeners].map((listener) => listener(instance)));
      const failed = results.filter((result) => result.status === 'rejected');
      for (const { reason } of failed) this.#options.logger.error({ err: reason as unknown, instance: instance.id }, 'a part of the takeover failed; it is tried again');
      if (failed.length === 0) this.#settled.add(instance.id);
    }
    await this.#repository.forgetOlderThan(rememberMs);
  }

  async #look(): Promise<InstanceView[]> {
    const rows = await this.#repository.list(this.#deadAfterMs);
    return await Promise.all(rows.map(async (row) => toView(row, this.#own, await this.#isLiving(row))));
  }

  async #isLiving(row: InstanceRow): Promise<boolean> {
    if (row.id === this.self.id) return true;
    if (this.#options.isSole || !row.isBeating) return false;
    // On this machine the system itself knows at once.
    return row.machine === this.#own.machine ? await isSameProcess({ pid: row.pid, startTime: row.processStart }) : true;
  }
}

function toView({ id, host, machine, pid, startedAt }: InstanceRow, own: NewInstance, isAlive: boolean): InstanceView {
  return { id, host, pid, startedAt, isHere: machine === own.machine, isAlive };
}

async function hasPassed(waiting: Promise<void>): Promise<boolean> {
  return await waiting.then(() => true, () => false);
}
