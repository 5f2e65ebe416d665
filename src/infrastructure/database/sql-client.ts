import { MikroORM, PostgreSqlDriver } from '@mikro-orm/postgresql';

/** Runs statements outside any entity: server administration and checks. */
export type SqlClient = { execute(sql: string): Promise<Record<string, unknown>[]> };

/** Opens one connection to `url` for the time of `work`. */
export async function withSqlClient<T>(url: string, work: (client: SqlClient) => Promise<T>): Promise<T> {
  const orm = await MikroORM.init({
    driver: PostgreSqlDriver,
    clientUrl: url,
    entities: [],
    discovery: { warnWhenNoEntities: false },
    pool: { min: 0, max: 1 },
  });
  try {
    const connection = orm.em.getConnection();
    return await work({ execute: async (sql) => await connection.execute<Record<string, unknown>[]>(sql) });
  } finally {
    await orm.close(true);
  }
}

/** True when the server behind `url` takes our password and serves the data directory `cluster`. */
export async function answersAs(url: string, cluster: string): Promise<boolean> {
  try {
    return await withSqlClient(url, async (client) => {
      const rows = await client.execute('show data_directory');
      return rows[0]?.['data_directory'] === cluster;
    });
  } catch {
    return false;
  }
}
