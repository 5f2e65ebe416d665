import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createTokenBudget } from '../../../src/domains/access/token-budget.ts';
import { TokenUsage } from '../../../src/domains/access/token-usage.entity.ts';
import { TokenUsageRepository } from '../../../src/domains/access/token-usage.repository.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { newId } from '../../../src/shared/ids.ts';
import type { TokenBudget } from '../../../src/shared/key-limits.ts';
import type { Principal } from '../../../src/shared/principal.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { silentLogger } from '../../support/silent-logger.ts';

let database: TestDatabase;
let now = new Date('2026-01-31T23:59:00Z');
const keyOf = (tokensPerDay: number | null): Principal => ({ keyId: newId(), owner: 'anna', role: 'USER', limits: { requestsPerMinute: null, tokensPerDay } });
/** A process of its own on the same database. */
const budget = (): TokenBudget => createTokenBudget({ repository: new TokenUsageRepository(database.orm.em), clock: { ...systemClock, now: () => now }, logger: silentLogger });

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => database.drop());
beforeEach(() => {
  now = new Date('2026-01-31T23:59:00Z');
});

describe('tokens a day', () => {
  it('are counted over all processes at once, and what is used up is refused until midnight UTC', async () => {
    const principal = keyOf(100);
    const processes = [budget(), budget()];
    const payer = await processes[0]!.payerOf(principal);
    await Promise.all(Array.from({ length: 99 }, (_, index) => processes[index % 2]!.spend(payer, 1)));
    for (const each of processes) expect(await each.payerOf(principal)).toEqual(payer);
    await processes[0]!.spend(payer, 1);
    for (const each of processes) await expect(each.payerOf(principal)).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED', retryAfterSeconds: 60, details: { limit: 100, used: 100 } });
    now = new Date('2026-02-01T00:00:00Z');
    for (const each of processes) expect(await each.payerOf(principal)).toEqual(payer);
  });

  it('are of each key, and of nobody without a limit', async () => {
    const [limited, other, free] = [keyOf(10), keyOf(10), keyOf(null)];
    await budget().spend(await budget().payerOf(limited), 10);
    expect(await budget().payerOf(other)).not.toBeNull();
    await database.em().nativeDelete(TokenUsage, {});
    await budget().spend(await budget().payerOf(free), 1_000);
    expect(await database.em().count(TokenUsage, {})).toBe(0);
  });

  it('of days that are over are removed', async () => {
    await database.em().nativeDelete(TokenUsage, {});
    const principal = keyOf(10);
    await budget().spend(await budget().payerOf(principal), 3);
    const rows = new TokenUsageRepository(database.orm.em);
    expect(await rows.purge('2026-01-31')).toBe(0);
    expect(await rows.purge('2026-02-01')).toBe(1);
  });
});
