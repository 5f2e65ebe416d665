import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Instances } from '../../shared/instances.ts';
import type { Logger } from '../../shared/logger.ts';
import type { DeploymentRepository } from './deployment.repository.ts';
import type { Supervisors } from './supervisors.ts';

export type CommandListenerDeps = { repository: DeploymentRepository; instances: Instances; supervisors: Supervisors; events: EventBus; clock: Clock; logger: Logger };

/** An announcement may be lost; the row has the command all the same. */
const lookEveryMs = 2_000;

/** Carries out what other processes want of the deployments that this one runs. */
export class CommandListener {
  readonly #deps: CommandListenerDeps;
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();

  constructor(deps: CommandListenerDeps) {
    this.#deps = deps;
  }

  start(): void {
    // Where there is no other process nobody commands.
    if (!this.#deps.instances.isSole) this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { events, clock, logger } = this.#deps;
    const { signal } = this.#stopping;
    const announced = events.subscribe('deployment.command', { delivery: 'latest' }, signal);
    for (let next = announced.next(); ; ) {
      const isAnnounced = await Promise.race([next.then(() => true), clock.sleep(lookEveryMs, signal).then(() => false, () => false)]);
      if (signal.aborted) return;
      if (isAnnounced) next = announced.next();
      try {
        await this.#obey();
      } catch (err) {
        logger.warn({ err }, 'commands for deployments could not be carried out; they are tried again');
      }
    }
  }

  async #obey(): Promise<void> {
    const { repository, instances, supervisors } = this.#deps;
    for (const { id, command } of await repository.commandsFor(instances.self.id)) {
      if (!command) continue;
      await supervisors.of(id)[command.type]();
      await repository.clearCommand(id, command.id);
    }
  }
}
