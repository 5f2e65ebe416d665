import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { AuditEntry } from '../../../src/domains/access/audit/audit-entry.entity.ts';
import { AuditEntryRepository } from '../../../src/domains/access/audit/audit-entry.repository.ts';
import { toRow } from '../../../src/domains/access/audit/audit-view.ts';
import { createAudit, type AuditModule } from '../../../src/domains/access/audit/create-audit.ts';
import type { AuditEntryView } from '../../../src/domains/access/audit/types.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import type { AuditRecord } from '../../../src/shared/audit-log.ts';
import { newId } from '../../../src/shared/ids.ts';
import type { Principal } from '../../../src/shared/principal.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { eventually } from '../../support/eventually.ts';
import { openTestLive } from '../../support/live.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

const anna: Principal = { keyId: newId(), keyName: 'laptop', owner: 'anna', role: 'OPERATOR' };
const origin = { requestId: 'request-1', peer: '192.0.2.7' };
const done = (change: Partial<AuditRecord> = {}): AuditRecord => ({ action: 'deployment.stop', actor: anna, target: { kind: 'deployment', id: newId() }, errorCode: null, origin, ...change });
const badKey = (peer: string): AuditRecord => done({ action: 'access.authenticate', actor: null, target: null, errorCode: 'UNAUTHENTICATED', origin: { requestId: 'r', peer } });

let database: TestDatabase;
let live: Awaited<ReturnType<typeof openTestLive>>;
let audit: AuditModule;
const logger = createRecordingLogger();
const openAudit = (): AuditModule => createAudit({ em: database.orm.em, events: live.events, clock: systemClock, logger });
const all = async (): Promise<AuditEntryView[]> => (await audit.trail.list({}, { limit: 100 })).items;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => database.drop());
beforeEach(async () => {
  await database.em().nativeDelete(AuditEntry, {});
  live = await openTestLive();
  audit = openAudit();
});
afterEach(async () => {
  await audit.stop();
  await live.close();
});

describe('an entry', () => {
  it('is stored when its record has resolved, with who, what, to what, from where and what came of it', async () => {
    const record = done();
    await audit.log.record(record);
    const [entry] = await all();
    expect(entry).toEqual({
      id: expect.any(String),
      at: expect.any(Date),
      actor: { keyId: anna.keyId, owner: 'anna', name: 'laptop', role: 'OPERATOR' },
      action: 'deployment.stop',
      target: record.target,
      outcome: 'succeeded',
      errorCode: null,
      count: 1,
      requestId: 'request-1',
      peerAddress: '192.0.2.7',
    });
    expect(await audit.trail.find(entry!.id)).toEqual(entry);
  });

  it('is stored once and in order however many are recorded at once', async () => {
    const targets = Array.from({ length: 250 }, () => newId());
    await Promise.all(targets.map((id) => audit.log.record(done({ target: { kind: 'deployment', id } }))));
    const stored = await new AuditEntryRepository(database.orm.em).after(null, 1_000);
    expect(stored.map(({ targetId }) => targetId)).toEqual(targets);
  });

  it('that waits when the service stops is stored', async () => {
    const own = openAudit();
    const recorded = Array.from({ length: 30 }, () => own.log.record(done()));
    for (let count = 0; count < 5; count += 1) void own.log.record(badKey('192.0.2.9'));
    await own.stop();
    await Promise.all(recorded);
    const entries = await all();
    expect(entries.filter(({ outcome }) => outcome === 'succeeded')).toHaveLength(30);
    expect(entries.filter(({ action }) => action === 'access.authenticate').reduce((sum, { count }) => sum + count, 0)).toBe(5);
  });

  it('is stored later where the database is away, without holding up who asked for more than a moment', async () => {
    let isAway = true;
    const rows = new AuditEntryRepository(database.orm.em);
    const { AuditWriter } = await import('../../../src/domains/access/audit/audit-writer.ts');
    const insert: AuditEntryRepository['insert'] = async (given) => (isAway ? Promise.reject(new Error('away')) : rows.insert(given));
    const writer = new AuditWriter({ repository: { insert }, events: live.events, clock: { ...systemClock, sleep: async () => void (isAway = false) }, logger });
    await writer.add(toRow(done(), new Date()));
    expect(await all()).toHaveLength(1);
  });

  it('that the database never takes is told in the log, whole', async () => {
    const { AuditWriter } = await import('../../../src/domains/access/audit/audit-writer.ts');
    const own = createRecordingLogger();
    const writer = new AuditWriter({ repository: { insert: () => Promise.reject(new Error('away')) }, events: live.events, clock: { ...systemClock, sleep: async () => {} }, logger: own });
    const row = toRow(done(), new Date());
    await writer.add(row);
    expect(own.records).toEqual([expect.objectContaining({ fields: expect.objectContaining({ entry: row }) })]);
  });
});

describe('a list', () => {
  it('can be narrowed by key, owner, action, group, target, kind and time', async () => {
    const bert: Principal = { keyId: newId(), keyName: 'ci', owner: 'bert', role: 'ADMIN' };
    await audit.log.record(done());
    await audit.log.record(done({ action: 'deployment.delete', actor: bert, target: { kind: 'deployment', id: anna.keyId } }));
    await audit.log.record(done({ action: 'key.create', actor: bert, target: { kind: 'api_key', id: null } }));
    const actions = async (filter: Parameters<AuditModule['trail']['list']>[0]): Promise<string[]> => (await audit.trail.list(filter, { limit: 10 })).items.map(({ action }) => action);
    expect(await actions({})).toEqual(['key.create', 'deployment.delete', 'deployment.stop']);
    expect(await actions({ actor: bert.keyId })).toEqual(['key.create', 'deployment.delete']);
    expect(await actions({ actor: 'anna' })).toEqual(['deployment.stop']);
    expect(await actions({ action: 'deployment' })).toEqual(['deployment.delete', 'deployment.stop']);
    expect(await actions({ action: 'deployment.delete', actor: 'bert' })).toEqual(['deployment.delete']);
    expect(await actions({ target: anna.keyId })).toEqual(['deployment.delete']);
    expect(await actions({ target: 'api_key' })).toEqual(['key.create']);
    const [, middle] = (await audit.trail.list({}, { limit: 10 })).items;
    expect(await actions({ since: middle!.at, until: new Date(Date.now() + 1_000) })).toContain('key.create');
    expect(await actions({ until: new Date(0) })).toEqual([]);
    await expect(audit.trail.list({ action: 'deploy' }, { limit: 10 })).rejects.toMatchObject({ code: 'VALIDATION_FAILED' });
  });

  it('neither repeats nor skips what was there while more is recorded between its pages', async () => {
    for (let count = 0; count < 5; count += 1) await audit.log.record(done());
    const before = (await all()).map(({ id }) => id);
    const seen: string[] = [];
    for (let cursor: string | null | undefined; cursor !== null; ) {
      const page = await audit.trail.list({}, { limit: 2, ...(cursor === undefined ? {} : { cursor }) });
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
      await audit.log.record(done());
    }
    expect(seen).toEqual(before);
  });
});

describe('refusals', () => {
  it('of one source are one entry and, later, one that says how many more there were', async () => {
    for (let count = 0; count < 1_000; count += 1) void audit.log.record(badKey('192.0.2.1'));
    await audit.stop();
    expect((await all()).map(({ count, outcome }) => ({ count, outcome }))).toEqual([{ count: 999, outcome: 'denied' }, { count: 1, outcome: 'denied' }]);
  });

  it('from ever new sources do not fill the table, and are all counted', async () => {
    for (let count = 0; count < 5_000; count += 1) void audit.log.record(badKey(`2001:db8::${count.toString(16)}`));
    await audit.stop();
    const entries = await all();
    expect(entries.length).toBeLessThan(60);
    expect(entries.reduce((sum, { count }) => sum + count, 0)).toBe(5_000);
  });

  it('of one key for one thing after another are counted together', async () => {
    for (let count = 0; count < 20; count += 1) void audit.log.record(done({ errorCode: 'DEPLOYMENT_NOT_FOUND' }));
    await audit.stop();
    expect((await all()).map(({ count, outcome }) => ({ count, outcome }))).toEqual([{ count: 19, outcome: 'failed' }, { count: 1, outcome: 'failed' }]);
  });
});

describe('retention', () => {
  it('removes what is too old, and the oldest beyond the number that is kept, without refusals pushing out what was done', async () => {
    const rows = new AuditEntryRepository(database.orm.em);
    const at = (day: number): Date => new Date(Date.UTC(2026, 0, day));
    const old = toRow(done(), at(1));
    const kept = [toRow(done(), at(20)), toRow(done(), at(21)), toRow(done(), at(22))] as const;
    const refused = Array.from({ length: 40 }, () => toRow(badKey('192.0.2.1'), at(23)));
    await rows.insert([old, ...kept, ...refused]);
    expect(await rows.purge({ before: at(10), succeededMax: 2, othersMax: 10 })).toBe(1 + 1 + 30);
    const left = await rows.after(null, 100);
    expect(left.map(({ id }) => id)).toEqual([kept[1].id, kept[2].id, ...refused.slice(30).map(({ id }) => id)]);
  });
});

describe('whoever follows it', () => {
  it('is told of each entry once, also of what its queue had no room for', async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    const stream = audit.trail.watch(stop.signal)[Symbol.asyncIterator]() as AsyncIterator<AuditEntryView, undefined>;
    const idOf = async (next = stream.next()): Promise<string> => (await next).value?.id ?? '';
    const first = idOf();
    await eventually('the first entry is told', async () => {
      await audit.log.record(done());
      return await Promise.race([first, Promise.resolve(null)]);
    });
    // Nobody reads meanwhile, and more come than the queue holds.
    for (let round = 0; round < 13; round += 1) await Promise.all(Array.from({ length: 100 }, () => audit.log.record(done())));
    const expected = (await new AuditEntryRepository(database.orm.em).after(null, 5_000)).map(({ id }) => id);
    seen.push(await first);
    const begun = expected.indexOf(seen[0]!);
    while (seen.length < expected.length - begun) seen.push(await idOf());
    stop.abort();
    expect(seen.toSorted()).toEqual(expected.slice(begun).toSorted());
  });
});
