import { LockMode, type EntityClass, type EntityManager, type FilterQuery } from '@mikro-orm/core';
import type { Machine } from '../state-machine.ts';
import { StateEvent } from './state-event.entity.ts';

export type TransitionRequest<State extends string, Row> = {
  machine: Machine<State>;
  id: string;
  to: State;
  /** Only from these; default: every state from which the machine's table allows `to`. */
  from?: readonly State[];
  /** Further columns that change with the state. */
  patch?: Partial<Row>;
  reason?: string;
  at: Date;
};

/**
 * The one way a row changes state: the row is locked, compared, changed and the event row written in one
 * transaction. Returns the state it left, or null when the row is gone or in a state that does not lead there (the
 * caller reads the row again and decides). Publishing is the caller's, after this returns.
 */
export async function transition<State extends string, Row extends { id: string; status: State }>(
  em: EntityManager,
  entity: EntityClass<Row>,
  request: TransitionRequest<State, Row>,
): Promise<State | null> {
  const { machine, id, to, at } = request;
  const sources = request.from ?? machine.sourcesOf(to);
  // MikroORM cannot prove that a generic row's `id` fits its filter type.
  const where = { id } as FilterQuery<Row>;
  return await em.fork().transactional(async (tx) => {
    const row = await tx.findOne(entity, where, { lockMode: LockMode.PESSIMISTIC_WRITE });
    if (!row || !sources.includes(row.status) || !machine.canGo(row.status, to)) return null;
    const from = row.status;
    Object.assign(row, request.patch, { status: to });
    tx.create(StateEvent, { kind: machine.name, subjectId: id, fromState: from, toState: to, reason: request.reason ?? null, at });
    return from;
  });
}
