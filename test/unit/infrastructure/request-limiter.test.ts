import { describe, expect, it } from '@jest/globals';
import { createRequestLimiter } from '../../../src/infrastructure/limits/request-limiter.ts';
import { newId } from '../../../src/shared/ids.ts';
import type { Principal } from '../../../src/shared/principal.ts';

const keyOf = (requestsPerMinute: number | null): Principal => ({ keyId: newId(), owner: 'anna', role: 'USER', limits: { requestsPerMinute, tokensPerDay: null } });

describe('requests a minute in one process', () => {
  it('are let through up to the limit of each key, and refused beyond with the time until the window is over', async () => {
    const limiter = createRequestLimiter();
    const [small, other] = [keyOf(3), keyOf(2)];
    for (let count = 0; count < 3; count += 1) await limiter.take(small);
    const refused: unknown = await limiter.take(small)?.catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'RATE_LIMITED', details: { limit: 3 } });
    const { retryAfterSeconds } = refused as { retryAfterSeconds: number };
    expect(retryAfterSeconds).toBeGreaterThan(50);
    expect(retryAfterSeconds).toBeLessThanOrEqual(60);
    await limiter.take(other);
  });

  it('cost a key without a limit nothing at all', () => {
    expect(createRequestLimiter().take(keyOf(null))).toBeUndefined();
    expect(createRequestLimiter().take({ keyId: newId(), owner: 'anna', role: 'ADMIN' })).toBeUndefined();
  });
});
