import { randomBytes } from 'node:crypto';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { entities } from '../../src/infrastructure/database/entities.ts';
import { createPostgresOrm } from '../../src/infrastructure/database/orm.ts';
import type { Orm } from '../../src/infrastructure/database/orm.ts';
import { withSqlClient } from '../../src/infrastructure/database/sql-client.ts';
import { silentLogger } from './silent-logger.ts';
import { templateDatabase } from './test-cluster.ts';

export type TestDatabase = {
  readonly url: string;
  readonly orm: Orm;
  /** A fresh entity manager, as each request has. */
  em(): SqlEntityManager;
  drop(): Promise<void>;
};

/** A database with the service's schema for one test file: call it in `beforeAll`, and `drop()` in `afterAll`. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const adminUrl = process.env['LLMM_TEST_CLUSTER_URL'];
  if (!adminUrl) throw new Error('database tests belong to the integration project, whose global set-up starts a server');
  const name = `llmm_test_${process.pid}_${randomBytes(4).toString('hex')}`;
  await withSqlClient(adminUrl, (client) => createFromTemplate((sql) => client.execute(sql), name));
  const parts = new URL(adminUrl);
  parts.pathname = `/${name}`;
  const url = parts.href;
  const orm = await createPostgresOrm(url, { entities, migrations: [], logger: silentLogger });
  return {
    url,
    orm,
    em: () => orm.em.fork(),
    drop: async () => {
      await orm.close(true);
      await withSqlClient(adminUrl, (client) => client.execute(`drop database "${name}" with (force)`));
    },
  };
}

/** Copying one template at the same time from two workers is fine for the server; a connection to it is not. */
async function createFromTemplate(execute: (sql: string) => Promise<unknown>, name: string): Promise<void> {
  await execute(`create database "${name}" template "${templateDatabase}" strategy file_copy`);
}
