import type { EntityManager } from '@mikro-orm/core';
import type { Clock } from '../../shared/clock.ts';
import { purgeIdempotencyRecords } from '../../shared/persistence/idempotency.repository.ts';
import { purgeStateEvents } from '../../shared/persistence/state-event.repository.ts';
import type { Chore } from './housekeeping.ts';

const dayMs = 86_400_000;
/** How long a request may be sent again under its idempotency key. */
const idempotencyDays = 7;
/** What happened to tasks, deployments and answers is kept this long. */
const stateEventDays = 90;

export function daysAgo(clock: Clock, days: number): Date {
  return new Date(clock.now().getTime() - days * dayMs);
}

/** What all rooms share and would grow for ever. */
export function standingChores(em: EntityManager, clock: Clock): Chore[] {
  return [
    { name: 'idempotency keys', run: () => purgeIdempotencyRecords(em, daysAgo(clock, idempotencyDays)) },
    { name: 'state events', run: () => purgeStateEvents(em, daysAgo(clock, stateEventDays)) },
  ];
}
