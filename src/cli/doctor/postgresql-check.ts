import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import type { Config } from '../../infrastructure/config/config.ts';
import { abortable } from '../../shared/async.ts';
import { fault, ok, reasonOf, type Check } from './check.ts';
import { withTimeout } from './network-checks.ts';

const name = 'database';
const oldestMajor = 15;
/** SSLRequest of PostgreSQL's protocol, to which every server answers S or N before anybody logs in. */
const sslRequest = Buffer.from([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);

async function ask(socket: Socket, question: Buffer, signal: AbortSignal): Promise<Buffer> {
  try {
    socket.write(question);
    const [answer] = (await once(socket, 'data', { signal })) as [Buffer];
    return answer;
  } finally {
    socket.destroy();
  }
}

/** Logs in as the service would, and looks whether it could keep its tables there. */
async function logIn(url: string, place: string): Promise<Check> {
  // Only now: a driver takes a while to load, and most have no server of their own.
  const { withSqlClient } = await import('../../infrastructure/database/sql-client.ts');
  const rows = await withSqlClient(url, (client) =>
    client.execute(`select current_setting('server_version_num')::int as version, current_database() as database,
      has_database_privilege(current_database(), 'CREATE') and has_schema_privilege('public', 'CREATE') as may_create`),
  );
  const { version, database, may_create: mayCreate } = rows[0] as { version: number; database: string; may_create: boolean };
  const major = Math.trunc(version / 10_000);
  if (major < oldestMajor) return fault(name, `PostgreSQL ${major} at ${place} is too old`, `Use PostgreSQL ${oldestMajor} or later.`);
  if (!mayCreate) return fault(name, `the user may not make tables in the database ${database} at ${place}`, `As its administrator: alter database "${database}" owner to the user of DATABASE_URL.`);
  return ok(name, `PostgreSQL ${major} at ${place} lets us in`);
}

function explain(error: unknown, place: string): Check {
  const code = String((error as { code?: unknown } | null)?.code);
  if (code.startsWith('28')) return fault(name, `PostgreSQL at ${place} refuses the user or the password`, 'Correct them in DATABASE_URL, or allow them in its pg_hba.conf.');
  // The service makes it at its first start.
  if (code === '3D000') return ok(name, `PostgreSQL answers at ${place}; the database is made at the first start, if the user may`);
  if (code === '53300') return fault(name, `PostgreSQL at ${place} has no connection left`, 'Raise its max_connections, or end what holds them.');
  return fault(name, `PostgreSQL at ${place} does not let us in (${reasonOf(error)})`, "Check DATABASE_URL, and PostgreSQL's own log.");
}

/** Whether the PostgreSQL that is set is one, lets us in, is new enough and lets us make tables. */
export async function checkPostgresql({ database }: Config, signal: AbortSignal): Promise<Check> {
  if (database.kind !== 'postgresql') return ok(name, 'embedded');
  const text = database.url.reveal();
  const url = new URL(text);
  const address = { host: url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(url.port || 5432) };
  const place = `${address.host}:${address.port}`;
  const limit = withTimeout(signal);
  try {
    const answer = await ask(connect(address), sslRequest, limit);
    if (!/^[SN]$/.test(answer.subarray(0, 1).toString('latin1'))) return fault(name, `what answers at ${place} is not PostgreSQL`, 'Check DATABASE_URL.');
  } catch (error) {
    signal.throwIfAborted();
    return fault(name, `PostgreSQL is not reachable at ${place} (${reasonOf(error)})`, 'Start it, or check DATABASE_URL.');
  }
  try {
    return await abortable(logIn(text, place), limit);
  } catch (error) {
    signal.throwIfAborted();
    return explain(error, place);
  }
}
