import { createAccess, type AccessModule } from '../../src/domains/access/create-access.ts';
import { ApiKey } from '../../src/domains/access/api-key.entity.ts';
import type { Access, CreateApiKey } from '../../src/domains/access/types.ts';
import { InProcessEventBus } from '../../src/infrastructure/events/in-process-event-bus.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import type { EventBus } from '../../src/shared/event-bus.ts';
import type { Principal } from '../../src/shared/principal.ts';
import type { TestDatabase } from './database.ts';
import { silentLogger } from './silent-logger.ts';

/** Access on the real database with a clock that the test moves. */
export class AccessWorld {
  readonly database: TestDatabase;
  now = new Date('2026-01-01T00:00:00Z');
  /** Not 0, which a cache takes for no time at all. */
  monotonicMs = 1_000;
  /** Looks at the database so far: each takes an entity manager of its own. */
  queries = 0;
  admin!: { secret: string; principal: Principal };
  readonly #events = new InProcessEventBus({ clock: systemClock });
  readonly #modules: AccessModule[] = [];
  /** Ids by name. */
  readonly deployments = new Map<string, string>();
  readonly access: Access;

  private constructor(database: TestDatabase) {
    this.database = database;
    this.access = this.another().access;
  }

  static async create(database: TestDatabase): Promise<AccessWorld> {
    await database.em().nativeDelete(ApiKey, {});
    const world = new AccessWorld(database);
    const secret = await world.access.ensureAdminKey(null);
    world.admin = { secret, principal: await world.principalOf(secret) };
    world.queries = 0;
    return world;
  }

  /** A further process on the same database; it hears of the others' changes unless it has a bus of its own. */
  another(events: EventBus = this.#events): AccessModule {
    const { em } = this.database.orm;
    const counted = new Proxy(em, {
      get: (target, name, receiver) => {
        if (name === 'fork') this.queries += 1;
        const value: unknown = Reflect.get(target, name, receiver);
        return typeof value === 'function' ? (value as (...all: unknown[]) => unknown).bind(target) : value;
      },
    });
    const clock = { now: () => this.now, monotonicMs: () => this.monotonicMs, sleep: (ms: number, signal?: AbortSignal) => systemClock.sleep(ms, signal) };
    const module = createAccess({ em: counted, findDeployment: async (name) => this.deployments.get(name) ?? null, events, clock, logger: silentLogger });
    this.#modules.push(module);
    return module;
  }

  async principalOf(secret: string): Promise<Principal> {
    const principal = await this.access.authenticate(secret);
    if (!principal) throw new Error('the key does not work');
    return principal;
  }

  async make(input: Partial<CreateApiKey> = {}, by = this.admin.principal): Promise<{ id: string; secret: string }> {
    const { key, secret } = await this.access.createKey({ name: 'laptop', owner: 'anna', role: 'USER', ...input }, by);
    return { id: key.id, secret };
  }

  async close(): Promise<void> {
    await Promise.all(this.#modules.map((module) => module.stop()));
    await this.#events.close();
  }
}
