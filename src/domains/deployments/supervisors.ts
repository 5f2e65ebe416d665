import { AppError } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentUse } from '../../shared/resources-sample.ts';
import type { DeploymentRepository, DeploymentRow } from './deployment.repository.ts';
import type { ModelRuntime } from './runtime.ts';
import { Supervisor, type SupervisorDeps } from './supervisor.ts';
import { withTimeLimit } from './time-limit.ts';

/** An engine that does not end when asked and killed is left to the next start. */
const orphanLimitMs = 15_000;

/** The supervisors of this process, one a deployment, made when first needed. */
export class Supervisors {
  readonly #deps: SupervisorDeps;
  readonly #repository: DeploymentRepository;
  readonly #logger: Logger;
  readonly #all = new Map<string, Supervisor>();
  #closed = false;

  constructor(deps: SupervisorDeps) {
    this.#deps = deps;
    this.#repository = deps.repository;
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

  /**
   * Brings what the last service process left in line with what is wanted: engines without a service are ended, what
   * should run is started anew. Engines that were told to outlive the service would be adopted here.
   */
  async reconcile(signal: AbortSignal): Promise<void> {
    const rows = await this.#repository.listUnsettled();
    await Promise.all(rows.map((row) => this.#reconcileOne(row, signal)));
  }

  async #reconcileOne(row: DeploymentRow, signal: AbortSignal): Promise<void> {
    const runtime = this.#deps.runtimeOf(row.runtime);
    if (runtime && row.handle) await this.#endOrphan(row, runtime, signal);
    const supervisor = this.of(row.id);
    if (row.desiredStatus === 'running') await supervisor.start('the service has started');
    else await supervisor.stop();
  }

  async #endOrphan(row: DeploymentRow, runtime: ModelRuntime, signal: AbortSignal): Promise<void> {
    const { handle } = row;
    if (!handle) return;
    try {
      await withTimeLimit(orphanLimitMs, signal, (limited) => runtime.endOrphan(handle, limited));
    } catch (error) {
      signal.throwIfAborted();
      this.#logger.error({ deploymentId: row.id, handle, err: error }, 'an engine of an earlier service could not be ended');
    }
  }

  /** What the running ones use now; asks no database. */
  async uses(): Promise<DeploymentUse[]> {
    const uses = await Promise.all([...this.#all.values()].map((supervisor) => supervisor.namedUse()));
    return uses.filter((use) => use !== null);
  }

  /** Ends every engine; running answers get the drain time, at most until the signal aborts. */
  async close(signal: AbortSignal): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#all.values()].map((supervisor) => supervisor.close(signal)));
  }
}
