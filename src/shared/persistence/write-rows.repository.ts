import type { EntityClass } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Condition } from './read-rows.repository.ts';
import { runStatement, type Statement } from './run-statement.repository.ts';
import { shapeOf, type Column } from './row-shape.repository.ts';

/** New rows of one entity, all with the properties of the first. Generated columns are left out of them. */
export function insertOf<Row extends object>(em: SqlEntityManager, entity: EntityClass<Row>, rows: readonly [Partial<Row>, ...Partial<Row>[]]): Statement {
  const { table, byName } = shapeOf(em, entity);
  const columns = Object.keys(rows[0]).map((name) => columnOf(byName, name));
  const marks = `(${columns.map(() => '?').join(', ')})`;
  const values = rows.flatMap((row) => columns.map((column) => toValue(column, (row as Record<string, unknown>)[column.name])));
  return { text: `insert into ${table} (${columns.map(({ column }) => column).join(', ')}) values ${rows.map(() => marks).join(', ')}`, values };
}

/** Changes the given properties of the rows that match; others stay. */
export function updateOf<Row extends object>(em: SqlEntityManager, entity: EntityClass<Row>, patch: Partial<Row>, matching: readonly Condition[]): Statement {
  const { table } = shapeOf(em, entity);
  const sets = setsOf(em, entity, patch);
  return {
    text: `update ${table} set ${sets.text} where ${matching.map(([condition]) => condition).join(' and ')}`,
    values: [...sets.values, ...matching.flatMap(([, ...values]) => values)],
  };
}

/** `"column" = ?` for each property of a patch that is given. */
export function setsOf<Row extends object>(em: SqlEntityManager, entity: EntityClass<Row>, patch: Partial<Row>): Statement {
  const { byName } = shapeOf(em, entity);
  const given = Object.entries(patch).filter(([, value]) => value !== undefined);
  const sets = given.map(([name, value]) => ({ column: columnOf(byName, name), value }));
  return { text: sets.map(({ column: { column } }) => `${column} = ?`).join(', '), values: sets.map(({ column, value }) => toValue(column, value)) };
}

/**
 * Runs statements that change rows as one: all or none, in one round trip, where a transaction of the unit of work takes
 * one for its begin, its end and each of them. None of them sees what another one writes. Within a transaction of `em`
 * they are part of it.
 */
export async function runTogether(em: SqlEntityManager, statements: readonly Statement[]): Promise<void> {
  const parts = statements.map(({ text }, index) => `w${index} as (${text})`);
  await runStatement(em, { text: `with ${parts.join(', ')} select 1`, values: statements.flatMap(({ values }) => values) });
}

/** How many rows it has changed. */
export async function runUpdate(em: SqlEntityManager, update: Statement): Promise<number> {
  return (await runStatement(em, update)).changedCount;
}

function columnOf(byName: ReadonlyMap<string, Column>, name: string): Column {
  const column = byName.get(name);
  if (!column) throw new Error(`no column for ${name}`);
  return column;
}

function toValue({ toColumn }: Column, value: unknown): unknown {
  if (value === undefined || value === null) return null;
  return toColumn === null ? value : toColumn(value);
}
