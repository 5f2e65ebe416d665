import { MikroORM, PostgreSqlDriver } from '@mikro-orm/postgresql';

/** Runs statements outside any entity: server administration and checks. */
export type SqlClient = { execute(sql: string): Promise<Record<string, unknown>[]> };

/** A server on this machine that takes longer than this to greet is stuck. */
const connectTimeoutMs = 5_000;

/** Opens one connection to `url` for the time of `work`. */
export async function withSqlClient<T>(url: string, work: (client: SqlClient) => Promise<T>): Promise<T> {
  const orm = await MikroORM.init({
    driver: PostgreSqlDriver,
    clientUrl: url,
    entities: [],
    discovery: { warnWhenNoEntities: false },
    ensureDatabase: false,
    pool: { min: 0, max: 1 },
    driverOptions: { connectionTimeoutMillis: connectTimeoutMs },
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

/**
 * Makes the database that `url` names when its server has none of that name. Apart from the service's own
 * connections, because the ORM's way of doing this leaves the loser of a race connected to another database.
 */
export async function ensureDatabase(url: string): Promise<void> {
  try {
    await withSqlClient(url, (client) => client.execute('select 1'));
  } catch (error) {
    if (!hasCode(error, /^3D000$/)) throw error;
    const management = new URL(url);
    const name = decodeURIComponent(management.pathname.slice(1));
    management.pathname = '/postgres';
    await withSqlClient(management.href, (client) => client.execute(`create database "${name.replaceAll('"', '""')}"`)).catch(ignoreExisting);
  }
}

/** Another process that starts beside this one was quicker. */
function ignoreExisting(error: unknown): void {
  if (!hasCode(error, /^(42P04|23505)$/)) throw error;
}

/** Whether `error` carries a code (of the system or of SQL) that `codes` matches. */
export function hasCode(error: unknown, codes: RegExp): boolean {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && codes.test(code);
}
