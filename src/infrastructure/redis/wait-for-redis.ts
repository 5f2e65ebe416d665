import { Redis } from 'ioredis';
import { abortable } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';
import { waitUntilThere } from '../lifecycle/wait-until-there.ts';
import { describeRedisUrl, redisOptionsOf } from './redis-options.ts';

/** A Redis that was configured cannot be used; the message says which and why, without its password. */
export class RedisUnavailableError extends Error {
  override readonly name = 'RedisUnavailableError';
}

/** Streams with exact trimming and `XADD ... NOMKSTREAM` came with 6.2; older ones are not tested. */
const versionMin = [6, 2] as const;
const attemptTimeoutMs = 5_000;
/** Waiting cannot mend what these say. */
const refusal = /^(WRONGPASS|NOAUTH|NOPERM|ERR (invalid password|AUTH|Client sent AUTH|DB index|invalid DB))/i;

/** Resolves when Redis answers; says once that it waits. Rejects with RedisUnavailableError when it refuses us. */
export async function waitForRedis(url: string, logger: Logger, signal: AbortSignal): Promise<void> {
  const place = describeRedisUrl(url);
  await waitUntilThere({
    what: `Redis at ${place} (REDIS_URL)`,
    logger,
    attempt: (limited) => greet(url, limited),
    isHopeless: (error) => error instanceof RedisUnavailableError,
    attemptTimeoutMs,
  }, signal);
}

async function greet(url: string, signal: AbortSignal): Promise<void> {
  const place = describeRedisUrl(url);
  const redis = new Redis({ ...redisOptionsOf(url, 'greeting'), retryStrategy: null });
  const { promise: refused, reject } = Promise.withResolvers<never>();
  // ioredis tells some refusals (AUTH, SELECT) as events only.
  redis.on('error', (error: Error) => {
    if (refusal.test(error.message)) reject(error);
  });
  refused.catch(() => undefined);
  try {
    const info = await abortable(Promise.race([redis.connect().then(() => redis.info('server')), refused]), signal);
    assertVersion(info, place);
  } catch (error) {
    const { message } = error as Error;
    if (refusal.test(message)) throw new RedisUnavailableError(`REDIS_URL: Redis at ${place} cannot be used: ${message}`, { cause: error });
    throw error;
  } finally {
    redis.disconnect();
  }
}

function assertVersion(info: string, place: string): void {
  const version = /^redis_version:(\S+)/m.exec(info)?.[1];
  if (version === undefined) return;
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > versionMin[0] || (major === versionMin[0] && minor >= versionMin[1])) return;
  throw new RedisUnavailableError(`REDIS_URL: Redis at ${place} is version ${version}; ${versionMin.join('.')} or later is needed.`);
}
