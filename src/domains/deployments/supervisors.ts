import { AppError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentUse } from '../../shared/resources-sample.ts';
import { keepAliveMsOf } from './deployment-config.ts';
import type { DeploymentRow } from './deployment.repository.ts';
import { endLeftOver } from './model-adoption.ts';
import { Supervisor, type SupervisorDeps } from './supervisor.ts';

const leftOverLimitMs = 20_000;
/** How long a load waits for answers of other models to end; whoever asks for it waits as long. */
const busyWaitMs = 60_000;

/** With the memory that it takes. */
type Weighed = { supervisor: Supervisor; bytes: number };

/** The supervisors of this process, one a deployment, made when first needed. */
export class Supervisors {
  readonly #deps: SupervisorDeps;
  readonly #logger: Logger;
  readonly #all = new Map<string, Supervisor>();
  #closed = false;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#logger = deps.logger;
  }

  of(id: string): Supervisor {
    let supervisor = this.#all.get(id);
    if (!supervisor) {
      supervisor = new Supervisor(id, this.#deps);
      this.#all.set(id, supervisor);
    }
    return supervisor;
  }

  peek(id: string): Supervisor | undefined {
    return this.#all.get(id);
  }

  forget(id: string): void {
    this.#all.delete(id);
  }

  /** Throws SHUTTING_DOWN once the service ends: nothing is started any more. */
  assertOpen(): void {
    if (this.#closed) throw new AppError('SHUTTING_DOWN', 'The service is shutting down.', { retryAfterSeconds: 10 });
  }

  /** Ends what an earlier owner may have left of it. */
  async endLeftOver(row: DeploymentRow): Promise<void> {
    const runtime = this.#deps.runtimeOf(row.runtime);
    if (runtime) await endLeftOver(row, runtime, { logger: this.#logger }, AbortSignal.timeout(leftOverLimitMs));
  }

  /**
   * Brings what an earlier service process left in line with what is wanted: an engine that goes on serving is taken
   * over, another one is ended, and what should run is started anew.
   */
  async reconcileOne(row: DeploymentRow, signal: AbortSignal): Promise<void> {
    const supervisor = this.of(row.id);
    const runtime = this.#deps.runtimeOf(row.runtime);
    if (row.desiredStatus === 'running' && row.status === 'running' && runtime?.adopt && row.handle) {
      supervisor.inherit();
      return;
    }
    if (runtime) await endLeftOver(row, runtime, { logger: this.#logger }, signal);
    if (row.desiredStatus === 'stopped') await supervisor.stop();
    // What was unloaded because nobody used it is loaded by the next request.
    else if (row.status !== 'stopped' || keepAliveMsOf(row.config) === null) await supervisor.start('the service has started');
  }

  /** What the running ones use now; asks no database. */
  async uses(): Promise<DeploymentUse[]> {
    const uses = await Promise.all([...this.#all.values()].map((supervisor) => supervisor.live.namedUse()));
    return uses.filter((use) => use !== null);
  }

  /**
   * Makes room for a model by ending engines that were loaded on demand and that nobody uses, the longest unused
   * first and no more than needed by what they really take. Where those that are in use would be needed too, it waits
   * a while for their answers to end. False when all of them together are too little, or the time is over; then none
   * is ended.
   */
  async makeRoom(neededBytes: number, exceptFor: string, signal: AbortSignal): Promise<boolean> {
    const waiting = new AbortController();
    const isOver = this.#deps.clock.sleep(busyWaitMs, AbortSignal.any([signal, waiting.signal])).then(() => true, () => true);
    try {
      for (;;) {
        const busy = [...this.#all.values()].filter((supervisor) => supervisor.id !== exceptFor && supervisor.isBusyOnDemand);
        const endings = busy.map((supervisor) => supervisor.live.usage.nextEnd.then(() => false));
        const idle = await this.#evictable(exceptFor);
        if (sum(idle) >= neededBytes) return await this.#evict(idle, neededBytes);
        if (sum(idle) + sum(await withBytes(busy)) < neededBytes) return false;
        if (await Promise.race([isOver, ...endings])) return false;
      }
    } finally {
      waiting.abort();
      signal.throwIfAborted();
    }
  }

  async #evict(idle: readonly Weighed[], neededBytes: number): Promise<boolean> {
    const chosen: Supervisor[] = [];
    let gainBytes = 0;
    for (const { supervisor, bytes } of idle) {
      if (gainBytes >= neededBytes) break;
      chosen.push(supervisor);
      gainBytes += bytes;
    }
    const ended = await Promise.all(
      chosen.map(async (supervisor) => {
        const over = supervisor.runEnded();
        const isUnloaded = await supervisor.unload('another model needed the memory');
        if (isUnloaded) await over;
        return isUnloaded;
      }),
    );
    return ended.every(Boolean);
  }

  /** Memory that `makeRoom` could free now. */
  async evictableBytes(exceptFor: string | null): Promise<number> {
    return sum(await this.#evictable(exceptFor));
  }

  async #evictable(exceptFor: string | null): Promise<Weighed[]> {
    const idle = [...this.#all.values()].flatMap((supervisor) => {
      const sinceMs = supervisor.id === exceptFor ? null : supervisor.idleSinceMs;
      return sinceMs === null ? [] : [{ supervisor, sinceMs }];
    });
    const byAge = idle.sort((a, b) => a.sinceMs - b.sinceMs);
    return await withBytes(byAge.map(({ supervisor }) => supervisor));
  }

  /** Ends every engine, or with `keep` lets those go on that can; running answers get the drain time, at most until the signal aborts. */
  async close(keep: boolean, signal: AbortSignal): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#all.values()].map((supervisor) => supervisor.close(keep, signal)));
  }
}

const sum = (weighed: readonly Weighed[]): number => weighed.reduce((total, { bytes }) => total + bytes, 0);

async function withBytes(supervisors: readonly Supervisor[]): Promise<Weighed[]> {
  return await Promise.all(
    supervisors.map(async (supervisor) => {
      const { memoryBytes, gpuMemoryBytes } = await supervisor.live.use();
      return { supervisor, bytes: (memoryBytes ?? 0) + (gpuMemoryBytes ?? 0) };
    }),
  );
}
