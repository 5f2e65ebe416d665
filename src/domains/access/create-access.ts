import type { EntityManager } from '@mikro-orm/core';
import { StopReason } from '../../shared/abort.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { Logger } from '../../shared/logger.ts';
import { AccessService } from './access.service.ts';
import { AdminKeys } from './admin-keys.ts';
import { ApiKeyRepository } from './api-key.repository.ts';
import { Authenticator } from './authenticator.ts';
import type { Access } from './types.ts';

export type AccessDeps = { em: EntityManager; events: EventBus; clock: Clock; logger: Logger };
export type AccessModule = {
  access: Access;
  /** Stops listening and waits for the last background write. */
  stop(): Promise<void>;
};

/** Wires access together; it listens to `access.key_changed` from this call on. */
export function createAccess({ em, events, clock, logger: parent }: AccessDeps): AccessModule {
  const logger = parent.child({ room: 'access' });
  const repository = new ApiKeyRepository(em);
  const authenticator = new Authenticator({ repository, clock, logger });
  const adminKeys = new AdminKeys({ repository, authenticator, clock, logger });
  const access = new AccessService({ repository, authenticator, adminKeys, events, clock, logger });
  const ended = new AbortController();
  const listening = followChanges(events, authenticator, ended.signal).catch((error: unknown) => {
    logger.error({ err: error }, 'key changes are not followed any more; revoked keys end with the short cache time');
  });
  const stop = async (): Promise<void> => {
    ended.abort(new StopReason('shutdown'));
    await Promise.all([listening, authenticator.settled()]);
  };
  return { access, stop };
}

async function followChanges(events: EventBus, authenticator: Authenticator, signal: AbortSignal): Promise<void> {
  for await (const delivery of events.subscribe('access.key_changed', { delivery: 'all' }, signal)) {
    if (delivery.type === 'resync' || delivery.droppedBefore > 0) authenticator.forgetAll();
    else authenticator.forget(delivery.payload.keyId);
  }
}
