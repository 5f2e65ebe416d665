import type { Redis } from 'ioredis';
import { RateLimiterMemory, RateLimiterRedis, type RateLimiterAbstract, type RateLimiterRes } from 'rate-limiter-flexible';
import { AppError } from '../../shared/errors.ts';
import type { RequestLimiter } from '../../shared/key-limits.ts';
import type { Principal } from '../../shared/principal.ts';

const windowSeconds = 60;
/** Each key has a limit of its own, so the library only counts. */
const points = Number.MAX_SAFE_INTEGER;

/**
 * Counts requests in windows of a minute that begin with a key's first one. Over Redis all processes count together;
 * while it is away each counts by itself.
 */
export function createRequestLimiter(redis?: { commands: Redis; prefix: string }): RequestLimiter {
  const counting = { points, duration: windowSeconds };
  const local = new RateLimiterMemory(counting);
  const limiter: RateLimiterAbstract = redis ? new RateLimiterRedis({ ...counting, storeClient: redis.commands, keyPrefix: `${redis.prefix}:requests`, insuranceLimiter: local }) : local;
  return {
    take({ keyId, limits }: Principal) {
      const max = limits?.requestsPerMinute ?? null;
      return max === null ? undefined : take(limiter, keyId, max);
    },
  };
}

async function take(limiter: RateLimiterAbstract, keyId: string, max: number): Promise<void> {
  const { consumedPoints, msBeforeNext }: RateLimiterRes = await limiter.consume(keyId);
  if (consumedPoints <= max) return;
  const retryAfterSeconds = Math.max(1, Math.ceil(msBeforeNext / 1_000));
  throw new AppError('RATE_LIMITED', `This key may send ${max} requests a minute.`, { details: { limit: max }, retryAfterSeconds });
}
