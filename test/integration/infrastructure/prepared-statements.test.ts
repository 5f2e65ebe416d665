import { afterAll, beforeAll, expect, it } from '@jest/globals';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { entities } from '../../../src/infrastructure/database/entities.ts';
import { createPostgresOrm, type Orm } from '../../../src/infrastructure/database/orm.ts';
import { runStatement } from '../../../src/shared/persistence/run-statement.repository.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { silentLogger } from '../../support/silent-logger.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

const asked = { text: 'select ?::int + 1 as next', values: [1] };

async function preparedIn(tx: SqlEntityManager): Promise<string[]> {
  const rows = await tx.execute<{ statement: string }[]>('select statement from pg_prepared_statements order by prepare_time');
  return rows.map(({ statement }) => statement);
}

/** A transaction holds one connection. */
async function onOneConnection(orm: Orm, work: (tx: SqlEntityManager) => Promise<void>): Promise<void> {
  await orm.em.fork().transactional(work);
}

/** Its names are of its own: what one test takes away, another one does not miss. */
async function withPool(work: (orm: Orm) => Promise<void>): Promise<void> {
  const orm = await createPostgresOrm(database.url, { entities, migrations: [], logger: silentLogger });
  try {
    await work(orm);
  } finally {
    await orm.close(true);
  }
}

it('has each text parsed once a connection, and only texts that come with values', async () => {
  await withPool(async (orm) => {
    await onOneConnection(orm, async (tx) => {
      for (const value of [1, 2, 3]) expect((await runStatement(tx, { ...asked, values: [value] })).rows).toEqual([{ next: value + 1 }]);
      await runStatement(tx, { text: 'select 1', values: [] });
      await tx.execute('select ?', [1]);
      expect(await preparedIn(tx)).toEqual(['select $1::int + 1 as next']);
    });
  });
});

it('prepares no more than so many texts, and runs the others all the same', async () => {
  await withPool(async (orm) => {
    await onOneConnection(orm, async (tx) => {
      for (let place = 0; place < 70; place += 1) expect((await runStatement(tx, { text: `select ?::int as n${place}`, values: [place] })).rows).toEqual([{ [`n${place}`]: place }]);
      expect(await preparedIn(tx)).toHaveLength(64);
    });
  });
});

it('runs a statement whose name the connection has forgotten, as behind a pooler that mixes connections, and gives no names from then on', async () => {
  await withPool(async (orm) => {
    await runStatement(orm.em.fork(), asked);
    await orm.em.fork().execute('deallocate all');

    expect((await runStatement(orm.em.fork(), asked)).rows).toEqual([{ next: 2 }]);
    await onOneConnection(orm, async (tx) => {
      await runStatement(tx, { text: 'select ?::int as other', values: [1] });
      expect(await preparedIn(tx)).toEqual([]);
    });
  });
});

it('runs a statement whose columns are of another type since it was prepared', async () => {
  await withPool(async (orm) => {
    const em = orm.em.fork();
    await em.execute('create table prepared_once (id integer, n integer)');
    await em.execute('insert into prepared_once values (7, 1)');
    const read = async (): Promise<unknown> => (await runStatement(orm.em.fork(), { text: 'select n from prepared_once where id = ?', values: [7] })).rows;
    expect(await read()).toEqual([{ n: 1 }]);
    await em.execute('alter table prepared_once alter column n type text');

    expect(await read()).toEqual([{ n: '1' }]);
  });
});

it('rejects with the fault of the statement, not of its name', async () => {
  await expect(runStatement(database.em(), { text: 'select ?::int', values: ['x'] })).rejects.toMatchObject({ code: '22P02' });
  expect((await runStatement(database.em(), asked)).rows).toEqual([{ next: 2 }]);
});
