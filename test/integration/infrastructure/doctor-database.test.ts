import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { checkPostgresql } from '../../../src/cli/doctor/postgresql-check.ts';
import type { Check } from '../../../src/cli/doctor/check.ts';
import { loadConfig } from '../../../src/infrastructure/config/load-config.ts';
import { withSqlClient } from '../../../src/infrastructure/database/sql-client.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

const never = new AbortController().signal;

describe('the doctor logs in to the PostgreSQL that is set, and', () => {
  const guest = `guest_${randomBytes(4).toString('hex')}`;
  let database: TestDatabase;

  beforeAll(async () => {
    database = await createTestDatabase();
    await withSqlClient(database.url, (client) => client.execute(`create role ${guest} login password 'guest-word'`));
  });
  afterAll(async () => {
    await withSqlClient(database.url, (client) => client.execute(`drop role ${guest}`));
    await database.drop();
  });

  const check = async (change: (url: URL) => void): Promise<Check> => {
    const url = new URL(database.url);
    change(url);
    return await checkPostgresql(loadConfig({ flags: {}, env: { DATABASE_URL: url.href, HOME: '/nonexistent' }, cwd: '/' }), never);
  };

  it('names its version when it lets us in', async () => {
    expect(await check(() => undefined)).toMatchObject({ status: 'ok', message: expect.stringMatching(/^PostgreSQL \d\d at .* lets us in$/) as unknown });
  });

  it('says when it refuses the password, without telling it', async () => {
    const found = await check((url) => (url.password = 'wrong-word'));
    expect(found).toMatchObject({ status: 'fault', message: expect.stringContaining('refuses the user or the password') as unknown });
    expect(JSON.stringify(found)).not.toContain('wrong-word');
  });

  it('says when the user may make no tables', async () => {
    expect(
      await check((url) => {
        url.username = guest;
        url.password = 'guest-word';
      }),
    ).toMatchObject({ status: 'fault', message: expect.stringContaining('may not make tables') as unknown });
  });

  it('counts a database that the first start will make as no fault', async () => {
    expect(await check((url) => (url.pathname = '/not_made_yet'))).toMatchObject({ status: 'ok', message: expect.stringContaining('made at the first start') as unknown });
  });

  it('says when nobody listens', async () => {
    expect(await check((url) => (url.port = '1'))).toMatchObject({ status: 'fault', message: expect.stringContaining('not reachable') as unknown });
  });
});
