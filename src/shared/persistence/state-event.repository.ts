import type { EntityManager } from '@mikro-orm/core';
import { StateEvent } from './state-event.entity.ts';

/** Removes events from before `before`; answers how many. */
export async function purgeStateEvents(em: EntityManager, before: Date): Promise<number> {
  return await em.fork().nativeDelete(StateEvent, { at: { $lt: before } });
}
