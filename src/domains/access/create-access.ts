import type { SqlEntityManager } from '@mikro-orm/sql';
import { StopReason } from '../../shared/abort.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { TokenBudget } from '../../shared/key-limits.ts';
import type { Logger } from '../../shared/logger.ts';
import { AccessService, type FindDeployment } from './access.service.ts';
import { AdminKeys } from './admin-keys.ts';
import { ApiKeyRepository } from './api-key.repository.ts';
import { Authenticator } from './authenticator.ts';
import { createTokenBudget, dayOf } from './token-budget.ts';
import { TokenUsageRepository } from './token-usage.repository.ts';
import type { Access } from './types.ts';

export type AccessDeps = { em: SqlEntityManager; findDeployment: FindDeployment; events: EventBus; clock: Clock; logger: Logger };
export type AccessModule = {
  access: Access;
  budget: TokenBudget;
  /** Removes what was counted of days before that of `before`; answers how many rows. */
  purgeUsage(before: Date): Promise<number>;
  /** Stops listening and waits for the last background write. */
  stop(): Promise<void>;
};

/** Wires access together; it listens to `access.key_changed` from this call on. */
export function createAccess({ em, findDeployment, events, clock, logger: parent }: AccessDeps): AccessModule {
  const logger = parent.child({ room: 'access' });
  const repository = new ApiKeyRepository(em);
  const authenticator = new Authenticator({ repository, clock, logger });
  const adminKeys = new AdminKeys({ repository, authenticator, clock, logger });
  const access = new AccessService({ repository, authenticator, adminKeys, findDeployment, events, clock, logger });
  const usage = new TokenUsageRepository(em);
  const budget = createTokenBudget({ repository: usage, clock, logger });
  const ended = new AbortController();
  const listening = followChanges(events, authenticator, ended.signal).catch((error: unknown) => {
    logger.error({ err: error }, 'key changes are not followed any more; revoked keys end with the short cache time');
  });
  const stop = async (): Promise<void> => {
    ended.abort(new StopReason('shutdown'));
    await Promise.all([listening, authenticator.settled()]);
  };
  const purgeUsage = (before: Date): Promise<number> => usage.purge(dayOf(before));
  return { access, budget, purgeUsage, stop };
}

async function followChanges(events: EventBus, authenticator: Authenticator, signal: AbortSignal): Promise<void> {
  for await (const delivery of events.subscribe('access.key_changed', { delivery: 'all' }, signal)) {
    if (delivery.type === 'resync' || delivery.droppedBefore > 0) authenticator.forgetAll();
    else authenticator.forget(delivery.payload.keyId);
  }
}
