import { crc32 } from 'node:zlib';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { ApiKey } from '../../../src/domains/access/api-key.entity.ts';
import { hashKey, makeKey } from '../../../src/domains/access/key-format.ts';
import type { Access, CreateApiKey } from '../../../src/domains/access/types.ts';
import { InProcessEventBus } from '../../../src/infrastructure/events/in-process-event-bus.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { newId } from '../../../src/shared/ids.ts';
import { roles } from '../../../src/shared/principal.ts';
import { AccessWorld } from '../../support/access-world.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';

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

describe('a credential', () => {
  it('becomes the principal of its key, with the role and owner that the row names', async () => {
    for (const role of roles) {
      const { id, secret } = await world.make({ role, owner: `owner of ${role}` });
      expect(await access.authenticate(secret)).toEqual({ keyId: id, keyName: 'laptop', owner: `owner of ${role}`, role });
    }
  });

  it('that was never given out is refused, like one with a right prefix and a wrong secret', async () => {
    const { secret } = await world.make();
    expect(await access.authenticate(makeKey())).toBeNull();
    // Its checksum is right, so that only the hash can tell.
    const wrong = otherSecretWithPrefix(secret);
    expect(await access.authenticate(wrong)).toBeNull();
    expect(await access.authenticate(secret)).not.toBeNull();
  });

  it('that has not the shape of a key never reaches the database', async () => {
    const hostile = ["' or 1=1 --", "llmm_AAAAAAAA_'; drop table api_keys; --", 'llmm_%%%%%%%%_', `${world.admin.secret} `, world.admin.secret.slice(0, -1), 'x'.repeat(100_000), '\0', '\ud800'];
    for (const text of hostile) expect(await access.authenticate(text)).toBeNull();
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.string({ maxLength: 60 }).map((text) => `llmm_${text}`)), async (text) => (await access.authenticate(text)) === null),
      { numRuns: 1_000 },
    );
    expect(world.queries).toBe(0);
  });

  it('that is asked for again and again is looked up once', async () => {
    const { secret } = await world.make();
    world.queries = 0;
    await Promise.all(Array.from({ length: 100 }, () => access.authenticate(secret)));
    await world.close();
    // One look-up and one note of its last use.
    expect(world.queries).toBe(2);
  });

  it('works although others send 500 wrong ones', async () => {
    const { secret } = await world.make();
    await access.authenticate(secret);
    const wrong = Array.from({ length: 500 }, () => access.authenticate(makeKey()));
    expect(await access.authenticate(secret)).not.toBeNull();
    expect(new Set(await Promise.all(wrong))).toEqual(new Set([null]));
  });

  it('ends with its expiry, also while it is remembered', async () => {
    const { secret } = await world.make({ expiresAt: new Date('2026-01-01T00:00:10Z') });
    expect(await access.authenticate(secret)).not.toBeNull();
    world.now = new Date('2026-01-01T00:00:10Z');
    expect(await access.authenticate(secret)).toBeNull();
  });

  it('notes its last use once a minute at most', async () => {
    const { id, secret } = await world.make();
    const lastUse = async (): Promise<Date | null> => (await database.em().findOneOrFail(ApiKey, { id })).lastUsedAt;
    await access.authenticate(secret);
    await eventually('the first use', lastUse);
    world.now = new Date('2026-01-01T00:00:59Z');
    world.monotonicMs = 60_999;
    await access.authenticate(secret);
    world.monotonicMs = 61_000;
    world.now = new Date('2026-01-01T00:01:00Z');
    await access.authenticate(secret);
    await eventually('the use a minute later', async () => (await lastUse())?.getTime() === world.now.getTime());
    const others = await access.listKeys();
    expect(others.find((key) => key.id === id)?.lastUsedAt).toEqual(world.now);
  });
});

describe('revoking', () => {
  it('stops a key at once, although it was used a moment ago', async () => {
    const { id, secret } = await world.make();
    const principal = await world.principalOf(secret);
    expect(await access.revokeKey(id, world.admin.principal)).toMatchObject({ id, revokedAt: world.now });
    expect(await access.authenticate(secret)).toBeNull();
    expect(await access.recheck(principal)).toBeNull();
    // Again is no error.
    expect(await access.revokeKey(id, world.admin.principal)).toMatchObject({ id, revokedAt: world.now });
  });

  it('stops it in other processes by the event', async () => {
    const other = world.another();
    const { id, secret } = await world.make();
    expect(await other.access.authenticate(secret)).not.toBeNull();
    await access.revokeKey(id, world.admin.principal);
    await eventually('the other process to refuse it', async () => (await other.access.authenticate(secret)) === null, 1_000);
    await other.stop();
  });

  it('stops it within seconds in a process that heard of nothing', async () => {
    const deaf = world.another(new InProcessEventBus({ clock: systemClock }));
    const { id, secret } = await world.make();
    expect(await deaf.access.authenticate(secret)).not.toBeNull();
    await access.revokeKey(id, world.admin.principal);
    world.monotonicMs += 4_000;
    expect(await deaf.access.authenticate(secret)).toBeNull();
    await deaf.stop();
  });

  it('never remembers what it read before the change', async () => {
    const { id, secret } = await world.make();
    const race = Promise.all([access.authenticate(secret), access.revokeKey(id, world.admin.principal)]);
    await race;
    expect(await access.authenticate(secret)).toBeNull();
  });

  it('keeps the last admin key that works, even when two admins revoke each other at once', async () => {
    await expect(access.revokeKey(world.admin.principal.keyId, world.admin.principal)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    const second = await world.make({ role: 'ADMIN' });
    const expired = await world.make({ role: 'ADMIN', expiresAt: new Date('2026-01-01T00:00:01Z') });
    world.now = new Date('2026-01-01T00:00:02Z');
    const results = await Promise.allSettled([access.revokeKey(second.id, world.admin.principal), access.revokeKey(world.admin.principal.keyId, world.admin.principal)]);
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(await access.revokeKey(expired.id, world.admin.principal)).toMatchObject({ id: expired.id });
  });

  it('answers unknown and malformed ids as not found', async () => {
    for (const id of [newId(), 'x', '', "'"]) {
      await expect(access.revokeKey(id, world.admin.principal)).rejects.toMatchObject({ code: 'NOT_FOUND' });
      await expect(access.rotateKey(id, world.admin.principal)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    }
  });
});

describe('rotating', () => {
  it('gives a new secret under the same id and stops the old one at once', async () => {
    const { id, secret } = await world.make();
    await access.authenticate(secret);
    const rotated = await access.rotateKey(id, world.admin.principal);
    expect(rotated.key.id).toBe(id);
    expect(await access.authenticate(secret)).toBeNull();
    expect(await access.authenticate(rotated.secret)).toMatchObject({ keyId: id, owner: 'anna' });
    await access.revokeKey(id, world.admin.principal);
    await expect(access.rotateKey(id, world.admin.principal)).rejects.toMatchObject({ code: 'INVALID_STATE' });
  });
});

describe('making a key', () => {
  it('shows the secret once and stores only its hash', async () => {
    const { key, secret } = await access.createKey({ name: ' laptop ', owner: 'anna', role: 'USER', scopes: ['chat'] }, world.admin.principal);
    expect(key).toEqual({ id: key.id, name: 'laptop', owner: 'anna', role: 'USER', prefix: secret.slice(0, 13), scopes: ['chat'], limits: { requestsPerMinute: null, tokensPerDay: null }, allowedDeployments: null, expiresAt: null, revokedAt: null, lastUsedAt: null, createdAt: world.now });
    const rows = JSON.stringify([await database.orm.em.fork().execute('select * from api_keys'), await access.listKeys()]);
    expect(rows).not.toContain(secret.slice(14));
    expect(JSON.stringify(await access.listKeys())).not.toContain(hashKey(secret));
  });

  it('refuses what cannot be a key, naming each field', async () => {
    const cases: [Partial<CreateApiKey> & Record<string, unknown>, string][] = [
      [{ name: '' }, 'name'],
      [{ name: 'x'.repeat(101) }, 'name'],
      [{ name: 'line\nbreak' }, 'name'],
      [{ owner: '  ' }, 'owner'],
      [{ owner: 'nul\0' }, 'owner'],
      [{ role: 'ROOT' as 'USER' }, 'role'],
      [{ scopes: ['Not A Scope'] }, 'scopes.0'],
      [{ scopes: Array.from({ length: 51 }, () => 'a') }, 'scopes'],
      [{ limits: { requestsPerMinute: 0 } }, 'limits.requests_per_minute'],
      [{ limits: { tokensPerDay: 1.5 } }, 'limits.tokens_per_day'],
      [{ limits: { tokensPerDay: 2 ** 31 } }, 'limits.tokens_per_day'],
      [{ allowedDeployments: [] }, 'allowed_deployments'],
      [{ allowedDeployments: ['nobody'] }, 'allowed_deployments'],
      [{ expiresAt: world.now }, 'expires_at'],
      [{ extra: 1 }, 'extra'],
    ];
    for (const [input, field] of cases) {
      await expect(world.make(input)).rejects.toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [expect.objectContaining({ field })] } });
    }
  });

  it('grants nothing that the maker does not hold', async () => {
    const expiresAt = new Date('2026-02-01T00:00:00Z');
    const operator = await world.principalOf((await world.make({ role: 'OPERATOR', owner: 'otto', scopes: ['chat', 'deployments:write'], expiresAt })).secret);
    const own = { owner: 'otto', scopes: ['chat'], expiresAt };
    await expect(world.make({ ...own, role: 'ADMIN' }, operator)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(world.make({ ...own, owner: 'anna' }, operator)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(world.make({ ...own, scopes: ['downloads:write'] }, operator)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(world.make({ ...own, scopes: [] }, operator)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    await expect(world.make({ owner: 'otto', scopes: ['chat'] }, operator)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    // Who may change deployments may look at them, and so may whoever gets that.
    const granted = await world.make({ ...own, role: 'OPERATOR', scopes: ['deployments:read'] }, operator);
    expect(await access.authenticate(granted.secret)).toMatchObject({ owner: 'otto', role: 'OPERATOR' });
    const viewer = await world.principalOf((await world.make({ role: 'VIEWER' })).secret);
    await expect(world.make({ role: 'VIEWER' }, viewer)).rejects.toMatchObject({ code: 'FORBIDDEN' });
  });

  it('grants no higher limits and no other deployments than the maker has, also not by a new secret for another key', async () => {
    const [mine, others] = [newId(), newId()];
    world.deployments.set('mine', mine).set('others', others).set(mine, mine);
    const limits = { requestsPerMinute: 10, tokensPerDay: 100 };
    const narrow = await world.principalOf((await world.make({ role: 'ADMIN', limits, allowedDeployments: ['mine'] })).secret);
    for (const wanted of [{}, { limits }, { allowedDeployments: ['mine'] }, { limits, allowedDeployments: ['mine', 'others'] }, { limits: { ...limits, tokensPerDay: 101 }, allowedDeployments: ['mine'] }, { limits: { requestsPerMinute: 10 }, allowedDeployments: ['mine'] }]) {
      await expect(world.make(wanted, narrow)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    }
    await world.make({ limits: { requestsPerMinute: 1, tokensPerDay: 100 }, allowedDeployments: [mine] }, narrow);
    await expect(access.rotateKey(world.admin.principal.keyId, narrow)).rejects.toMatchObject({ code: 'FORBIDDEN' });
    const { id } = await world.make({ limits, allowedDeployments: ['mine'] });
    await expect(access.rotateKey(id, narrow, { limits: {} })).rejects.toMatchObject({ code: 'FORBIDDEN' });
    expect((await access.rotateKey(id, narrow)).key).toMatchObject({ limits, allowedDeployments: [mine] });
  });

  it('keeps what a key is narrowed to when it gets a new secret, except for what is given anew', async () => {
    const deployment = newId();
    world.deployments.set('small', deployment);
    const { id } = await world.make({ role: 'OPERATOR', scopes: ['chat', 'chat'], limits: { requestsPerMinute: 5 }, allowedDeployments: ['small'] });
    const kept = await access.rotateKey(id, world.admin.principal);
    expect(kept.key).toMatchObject({ scopes: ['chat'], limits: { requestsPerMinute: 5, tokensPerDay: null }, allowedDeployments: [deployment] });
    expect(await access.authenticate(kept.secret)).toMatchObject({ scopes: ['chat'], limits: { requestsPerMinute: 5, tokensPerDay: null }, allowedDeployments: [deployment] });
    const changed = await access.rotateKey(id, world.admin.principal, { scopes: [], limits: { tokensPerDay: 7 } });
    expect(changed.key).toMatchObject({ scopes: [], limits: { requestsPerMinute: null, tokensPerDay: 7 }, allowedDeployments: [deployment] });
  });

  it('leaves a whole ADMIN key that works: the last one is neither revoked nor narrowed, whatever narrowed ones there are', async () => {
    const { principal } = world.admin;
    await world.make({ role: 'ADMIN', scopes: ['keys'] });
    await world.make({ role: 'ADMIN', limits: { requestsPerMinute: 1_000 } });
    await expect(access.revokeKey(principal.keyId, principal)).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await expect(access.rotateKey(principal.keyId, principal, { scopes: ['chat'] })).rejects.toMatchObject({ code: 'INVALID_STATE' });
    await access.rotateKey(principal.keyId, principal, { limits: {} });
    const second = await world.make({ role: 'ADMIN' });
    await access.rotateKey(second.id, principal, { scopes: ['chat'] });
    await expect(access.rotateKey(second.id, principal, { scopes: [] })).resolves.toMatchObject({ key: { scopes: [] } });
    await access.revokeKey(principal.keyId, principal);
  });

  it('lets people manage their own keys only, unless they are an ADMIN', async () => {
    const anna = await world.principalOf((await world.make({ owner: 'anna' })).secret);
    const bertas = await world.make({ owner: 'berta' });
    const annasOperator = await world.make({ owner: 'anna', role: 'OPERATOR' });
    for (const { id } of [bertas, annasOperator]) await expect(access.revokeKey(id, anna)).rejects.toMatchObject({ code: 'NOT_FOUND' });
    const second = await world.make({ owner: 'anna' }, anna);
    expect(await access.revokeKey(second.id, anna)).toMatchObject({ id: second.id });
  });

  it('refuses a maker whose own key was revoked meanwhile', async () => {
    const { id, secret } = await world.make({ role: 'OPERATOR' });
    const principal = await world.principalOf(secret);
    await access.revokeKey(id, world.admin.principal);
    await expect(world.make({ owner: 'anna' }, principal)).rejects.toMatchObject({ code: 'UNAUTHENTICATED' });
  });
});

/** A key of right shape and checksum with the prefix of `secret`. */
function otherSecretWithPrefix(secret: string): string {
  const body = `${secret.slice(0, 13)}_${makeKey().slice(14, 57)}`;
  return body + checksumFor(body);
}

function checksumFor(body: string): string {
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let rest = crc32(body);
  let text = '';
  for (let place = 0; place < 6; place += 1) {
    text = alphabet.charAt(rest % 62) + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}
