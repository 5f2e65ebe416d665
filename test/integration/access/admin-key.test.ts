import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { makeKey } from '../../../src/domains/access/key-format.ts';
import type { Access } from '../../../src/domains/access/types.ts';
import type { Principal } from '../../../src/shared/principal.ts';
import { AccessWorld } from '../../support/access-world.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';

let database: TestDatabase;
let world: AccessWorld;
let access: Access;
beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});
beforeEach(async () => {
  world = await AccessWorld.create(database);
  ({ access } = world);
});
afterEach(async () => {
  await world.close();
});

describe('the first admin key', () => {
  it('can be one that the operator chose, in any printable form, and only exactly that one', async () => {
    const secret = 'correct-horse-battery-staple';
    expect(await access.ensureAdminKey(secret)).toBe(secret);
    expect(await access.authenticate(secret)).toMatchObject({ role: 'ADMIN', owner: 'admin' });
    world.queries = 0;
    for (const other of [`${secret}x`, secret.toUpperCase(), secret.slice(1)]) expect(await access.authenticate(other)).toBeNull();
    expect(world.queries).toBe(0);
  });

  it('is the same row after every start, and a new choice replaces the old one', async () => {
    for (let start = 0; start < 3; start += 1) await createAndStop('correct-horse-battery-staple');
    expect((await access.listKeys()).filter(({ prefix }) => prefix.startsWith('env_'))).toHaveLength(1);
    const next = await createAndStop('another-horse-battery-staple');
    expect(next).toMatchObject({ old: null, chosen: { role: 'ADMIN' } });
    expect((await access.listKeys()).filter(({ prefix }) => prefix.startsWith('env_'))).toHaveLength(1);
  });

  it('can be one of our own form, such as the one in the data folder of a database that was lost', async () => {
    const secret = makeKey();
    await access.ensureAdminKey(secret);
    await access.ensureAdminKey(secret);
    expect(await access.authenticate(secret)).toMatchObject({ role: 'ADMIN' });
    expect(await access.listKeys()).toHaveLength(2);
  });

  it('stays revoked or replaced as long as another admin key works', async () => {
    const revoked = await world.make({ role: 'ADMIN' });
    await access.revokeKey(revoked.id, world.admin.principal);
    const rotated = await world.make({ role: 'ADMIN' });
    await access.rotateKey(rotated.id, world.admin.principal);
    for (const { secret } of [revoked, rotated]) {
      expect(await access.ensureAdminKey(secret)).toBe(secret);
      expect(await access.authenticate(secret)).toBeNull();
    }
  });

  it('works again when no admin key does, so that nobody is locked out of their own machine', async () => {
    const expired = await world.make({ role: 'ADMIN', expiresAt: new Date('2026-01-01T00:00:01Z') });
    await access.revokeKey(world.admin.principal.keyId, world.admin.principal);
    world.now = new Date('2026-01-01T00:00:02Z');
    expect(await access.authenticate(expired.secret)).toBeNull();
    await access.ensureAdminKey(world.admin.secret);
    expect(await access.authenticate(world.admin.secret)).toMatchObject({ role: 'ADMIN' });
  });

  it('is refused when it could be guessed or could not travel in a header', async () => {
    for (const secret of ['', 'short', 'with spaces in between', 'x'.repeat(257), 'line\nbreak-line-break']) {
      await expect(access.ensureAdminKey(secret)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'LLM_MANAGER_ADMIN_KEY' }] } });
    }
  });

  it('is made once when two processes start at the same moment', async () => {
    const secret = makeKey();
    const other = world.another();
    await Promise.all([access.ensureAdminKey(secret), other.access.ensureAdminKey(secret)]);
    expect(await access.listKeys()).toHaveLength(2);
    await other.stop();
  });
});

async function createAndStop(secret: string): Promise<{ old: Principal | null; chosen: Principal | null }> {
  const started = world.another();
  await started.access.ensureAdminKey(secret);
  const result = { old: await started.access.authenticate('correct-horse-battery-staple'), chosen: await started.access.authenticate(secret) };
  await started.stop();
  return result;
}
