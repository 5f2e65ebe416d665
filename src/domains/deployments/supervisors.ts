import { AppError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentUse } from '../../shared/resources-sample.ts';
import { keepAliveMsOf } from './deployment-config.ts';
import type { DeploymentRow } from './deployment.repository.ts';
import { endLeftOver } from './model-adoption.ts';
import { Supervisor, type SupervisorDeps } from './supervisor.ts';

const leftOverLimitMs = 20_000;

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
   * first and no more than needed by what they really take. False when all of them together are too little; then
   * none is ended.
   */
  async makeRoom(neededBytes: number, exceptFor: string): Promise<boolean> {
    const chosen: Supervisor[] = [];
    let gainBytes = 0;
    for (const { supervisor, bytes } of await this.#evictable(exceptFor)) {
      if (gainBytes >= neededBytes) break;
      chosen.push(supervisor);
      gainBytes += bytes;
    }
    if (gainBytes < neededBytes) return false;
    const ended = await Promise.all(
      chosen.map(async (supervisor) => {
        const over = supervisor.ended();
        const isUnloaded = await supervisor.unload('another model needed the memory');
        if (isUnloaded) await over;
        return isUnloaded;
      }),
    );
    return ended.every(Boolean);
  }

  /** Memory that `makeRoom` could free now. */
  async evictableBytes(exceptFor: string | null): Promise<number> {
    return (await this.#evictable(exceptFor)).reduce((sum, { bytes }) => sum + bytes, 0);
  }

  async #evictable(exceptFor: string | null): Promise<{ supervisor: Supervisor; bytes: number }[]> {
    const idle = [...this.#all.values()].flatMap((supervisor) => {
      const sinceMs = supervisor.id === exceptFor ? null : supervisor.idleSinceMs;
      return sinceMs === null ? [] : [{ supervisor, sinceMs }];
    });
    const byAge = idle.sort((a, b) => a.sinceMs - b.sinceMs);
    return await Promise.all(
      byAge.map(async ({ supervisor }) => {
        const { memoryBytes, gpuMemoryBytes } = await supervisor.live.use();
        return { supervisor, bytes: (memoryBytes ?? 0) + (gpuMemoryBytes ?? 0) };
      }),
    );
  }

  /** Ends every engine, or with `keep` lets those go on that can; running answers get the drain time, at most until the signal aborts. */
  async close(keep: boolean, signal: AbortSignal): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#all.values()].map((supervisor) => supervisor.close(keep, signal)));
  }
}
