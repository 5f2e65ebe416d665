import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { withSqlClient } from '../../../src/infrastructure/database/sql-client.ts';
import { StateEvent } from '../../../src/shared/persistence/state-event.entity.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});

async function cutAll(): Promise<void> {
  await withSqlClient(database.url, (client) => client.execute('select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()'));
}

async function count(): Promise<number> {
  return await database.orm.em.fork().transactional((tx) => tx.count(StateEvent, {}));
}

it('gives every place of the pool back when connections are cut before and within transactions', async () => {
  // Far more cuts than the pool has places.
  for (let round = 0; round < 12; round += 1) {
    await Promise.allSettled([count(), count(), count(), count()]);
    const within = database.orm.em.fork().transactional(async (tx) => {
      await tx.count(StateEvent, {});
      await cutAll();
      await tx.count(StateEvent, {});
    });
    await expect(within).rejects.toThrow();
  }
  await eventually('transactions to work again', () => count().then(() => true, () => false));
  expect(await Promise.all(Array.from({ length: 16 }, count))).toEqual(Array.from({ length: 16 }, () => 0));
});
