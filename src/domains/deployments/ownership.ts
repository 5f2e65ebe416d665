import { existsSync } from 'node:fs';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Instances, InstanceView } from '../../shared/instances.ts';
import type { Logger } from '../../shared/logger.ts';
import { nothingRuns } from './supervisor-answers.ts';
import type { DeploymentRepository, DeploymentRow } from './deployment.repository.ts';
import type { Supervisors } from './supervisors.ts';

export type OwnershipDeps = {
  repository: DeploymentRepository;
  instances: Instances;
  supervisors: Supervisors;
  /** Folder of the model's files; null where the deployment needs none. */
  modelFolderOf: (row: DeploymentRow) => Promise<string | null>;
  events: EventBus;
  clock: Clock;
  logger: Logger;
};

/**
 * Which service process runs which deployment: one each, written in its row. Only that one starts, ends and watches
 * its engine; what a dead one has left goes to one that lives, by a compare-and-set.
 */
export class Ownership {
  readonly #deps: OwnershipDeps;

  constructor(deps: OwnershipDeps) {
    this.#deps = deps;
  }

  /** The living other process that runs it; null when it is ours to run, now if not before. */
  async ownerOf(row: DeploymentRow): Promise<InstanceView | null> {
    const { instances, repository, supervisors } = this.#deps;
    for (let known: DeploymentRow | null = row; known; known = await repository.find(row.id)) {
      const { instanceId } = known;
      if (instanceId === instances.self.id) return null;
      const owner = typeof instanceId === 'string' ? await instances.find(instanceId) : null;
      if (owner?.isAlive) return owner;
      if (await this.#claim(known)) {
        await supervisors.endLeftOver(known);
        return null;
      }
    }
    return null;
  }

  /** Takes over, as the service starts, what has no living process and can run here. */
  async start(signal: AbortSignal): Promise<void> {
    const rows = await this.#deps.repository.listUnsettled();
    await Promise.all(rows.map((row) => this.#takeOver(row, signal)));
  }

  /** Takes over what another process has left that died. */
  async inherit(dead: InstanceView, signal: AbortSignal): Promise<void> {
    const rows = await this.#deps.repository.listUnsettled();
    await Promise.all(rows.filter((row) => row.instanceId === dead.id).map((row) => this.#takeOver(row, signal)));
  }

  async #takeOver(row: DeploymentRow, signal: AbortSignal): Promise<void> {
    const { instances, supervisors } = this.#deps;
    if (typeof row.instanceId === 'string' && (await instances.isAlive(row.instanceId))) return;
    if (!(await this.#canRunHere(row))) {
      await this.#settle(row);
      return;
    }
    if (await this.#claim(row)) await supervisors.reconcileOne(row, signal);
  }

  /** What ran on another machine goes on there if anybody is left, and here only where its model can be found. */
  async #canRunHere(row: DeploymentRow): Promise<boolean> {
    const { instances, modelFolderOf } = this.#deps;
    const host = row.host ?? null;
    if (host === null || host === instances.self.host) return true;
    if (await instances.livesOn(host)) return false;
    const folder = await modelFolderOf(row).catch(() => '');
    return folder === null || existsSync(folder);
  }

  /** Nobody can go on with it: what the row says of an engine is not true any more. It waits for its machine. */
  async #settle(row: DeploymentRow): Promise<void> {
    const { repository, instances, events, clock, logger } = this.#deps;
    if (row.status === 'stopped' || (await instances.livesOn(row.host ?? ''))) return;
    const reason = `The service on ${row.host ?? 'its machine'} has died; it goes on when that comes back, or when it is started elsewhere.`;
    if ((await repository.change({ id: row.id, to: 'stopped', patch: nothingRuns, reason, at: clock.now() })) === null) return;
    logger.warn({ deploymentId: row.id, host: row.host }, 'a deployment has lost its machine');
    events.publish('deployment.changed', row.id, { deploymentId: row.id, status: 'stopped' });
  }

  async #claim(row: DeploymentRow): Promise<boolean> {
    return await this.#deps.repository.claim(row.id, row.instanceId ?? null, this.#deps.instances.self);
  }
}
