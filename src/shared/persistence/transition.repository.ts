import type { EntityClass } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Machine } from '../state-machine.ts';
import { marksOf } from './read-rows.repository.ts';
import { shapeOf } from './row-shape.repository.ts';
import { runStatement } from './run-statement.repository.ts';
import { setsOf } from './write-rows.repository.ts';

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
 * The one way a row changes state: the row is locked, compared, changed and the event row written in one statement,
 * which is a transaction of its own unless `em` is in one. Returns the state it left, or null when the row is gone or in
 * a state that does not lead there (the caller reads the row again and decides). Publishing is the caller's, after this
 * returns.
 */
export async function transition<State extends string, Row extends { id: string; status: State }>(
  em: SqlEntityManager,
  entity: EntityClass<Row>,
  request: TransitionRequest<State, Row>,
): Promise<State | null> {
  const { machine, id, to, at, reason = null } = request;
  const sources = (request.from ?? machine.sourcesOf(to)).filter((state) => machine.canGo(state, to));
  if (sources.length === 0) return null;
  const { table } = shapeOf(em, entity);
  // The compiler cannot prove that `status` is a property of a generic row.
  const sets = setsOf(em, entity, { ...request.patch, status: to } as Partial<Row>);
  // `held` waits for whoever holds the row and then has its newest state, which the statement began too early to see.
  const { rows } = await runStatement(em, {
    text: `with held as (select id, status from ${table} where id = ? for update),
       changed as (update ${table} as now set ${sets.text} from held where now.id = held.id and held.status in (${marksOf(sources)}) returning held.id, held.status as was),
       noted as (insert into state_events (kind, subject_id, from_state, to_state, reason, at) select ?, changed.id, changed.was, ?, ?, ?::timestamptz from changed)
     select was from changed`,
    values: [id, ...sets.values, ...sources, machine.name, to, reason, at],
  });
  // The state that the row was in, which is one of its machine's.
  return (rows[0]?.['was'] as State | undefined) ?? null;
}
