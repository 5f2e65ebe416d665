import { randomBytes } from 'node:crypto';
import { describe, expect, it } from '@jest/globals';
import { Secret } from '../../../src/infrastructure/config/secret.ts';
import { DatabaseUnavailableError, openDatabase } from '../../../src/infrastructure/database/database.ts';
import type { Database } from '../../../src/infrastructure/database/database.ts';
import { DatabaseTooNewError, loadMigrations } from '../../../src/infrastructure/database/migrations.ts';
import { withSqlClient } from '../../../src/infrastructure/database/sql-client.ts';
import { StopReason } from '../../../src/shared/abort.ts';
import { eventually } from '../../support/eventually.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const adminUrl = process.env['LLMM_TEST_CLUSTER_URL'] ?? '';

function urlOf(database: string): string {
  const url = new URL(adminUrl);
  url.pathname = `/${database}`;
  return url.href;
}

async function open(url: string): Promise<Database> {
  return await openDatabase({ config: { kind: 'postgresql', url: new Secret(url) }, dataDir: '/nonexistent', logger: silentLogger }, AbortSignal.timeout(30_000));
}

describe('a database named by DATABASE_URL', () => {
  const name = `llmm_open_${randomBytes(4).toString('hex')}`;

  it('gets the schema once when several processes start at the same time, and refuses to run on a newer one', async () => {
    const opened = await Promise.all([open(urlOf(name)), open(urlOf(name)), open(urlOf(name))]);
    const first = opened[0];
    expect(first.kind).toBe('postgresql');
    const executed = await first.orm.em.getConnection().execute<{ name: string }[]>('select name from mikro_orm_migrations');
    expect(executed.map((row) => row.name)).toEqual((await loadMigrations()).map((migration) => migration.name));

    await first.orm.em.getConnection().execute("insert into mikro_orm_migrations (name) values ('Migration29991231000000_later')");
    await expect(open(urlOf(name))).rejects.toThrow(DatabaseTooNewError);
    await Promise.all(opened.map((database) => database.stop(AbortSignal.timeout(5_000))));
    await withSqlClient(adminUrl, (client) => client.execute(`drop database "${name}" with (force)`));
  });

  it('has migrations that make exactly what the entities describe', async () => {
    const drifting = `${name}_drift`;
    const database = await open(urlOf(drifting));
    expect(await database.orm.schema.getUpdateSchemaSQL({ wrap: false })).toBe('');
    await database.stop(AbortSignal.timeout(5_000));
    await withSqlClient(adminUrl, (client) => client.execute(`drop database "${drifting}" with (force)`));
  });

  it('is waited for with one line, without its password, and the waiting ends with the start', async () => {
    const logger = createRecordingLogger();
    const stopping = new AbortController();
    const config = { kind: 'postgresql' as const, url: new Secret('postgresql://someone:hunter2@127.0.0.1:1/models') };
    const opening = openDatabase({ config, dataDir: '/nonexistent', logger }, stopping.signal);
    await eventually('the line', () => logger.records.length > 0);
    stopping.abort(new StopReason('shutdown'));
    await expect(opening).rejects.toMatchObject({ why: 'shutdown' });
    expect(logger.records).toMatchObject([{ level: 'warn', message: 'PostgreSQL at 127.0.0.1:1/models (DATABASE_URL) cannot be reached; waiting for it' }]);
    expect(JSON.stringify(logger.records)).not.toContain('hunter2');
  });

  it('is named in the error when it refuses the password', async () => {
    const url = new URL(adminUrl);
    url.password = 'wrong';
    await expect(open(url.href)).rejects.toThrow(DatabaseUnavailableError);
  });
});
