import { BentoCache, bentostore, errors } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { redisDriver } from 'bentocache/drivers/redis';
import { abortable } from '../../shared/async.ts';
import type { Cache, CacheHit, CacheOptions } from '../../shared/cache.ts';
import type { Clock } from '../../shared/clock.ts';
import type { RedisConnections } from '../redis/redis-connections.ts';
import { CacheTransport } from './cache-transport.ts';

/** A factory works for all callers that wait for its key, so no single caller's signal may end it; this does. */
const factoryTimeoutMs = 30_000;
const bounds = { maxItems: 5_000, maxSize: '64mb', maxEntrySize: '4mb' } as const;

/** The time of the fetch travels with the value: the store itself does not tell fresh from stale. */
type Entry<T> = { value: T; fetchedAtMs: number };

/** While Redis is away or slow, each of its calls would cost a request its time. */
const breakMs = 10_000;
/** What other processes are to be told when Redis is back: the latest changes only. */
const retryQueue = { enabled: true, removeDuplicates: true, maxSize: 1_000 } as const;

/**
 * Cache in this process's memory, bounded in items and bytes; with Redis also in there, shared with the other
 * processes. Redis being away costs hits, nothing else.
 */
export function createCache(clock: Pick<Clock, 'now'>, redis: RedisConnections | null = null): Cache & { close(): Promise<void> } {
  const bento = new BentoCache({ default: 'cache', stores: { cache: redis ? sharedStore(redis) : bentostore().useL1Layer(memoryDriver(bounds)) } });
  const nowMs = (): number => clock.now().getTime();

  async function read<T>(key: string, factory: (signal: AbortSignal) => Promise<T>, options: CacheOptions): Promise<Entry<T>> {
    try {
      return await bento.getOrSet<Entry<T>>({
        key,
        factory: async () => ({ value: await factory(AbortSignal.timeout(factoryTimeoutMs)), fetchedAtMs: nowMs() }),
        ttl: options.ttlSeconds * 1000,
        grace: options.graceSeconds === 0 ? false : options.graceSeconds * 1000,
        timeout: options.softTimeoutMs,
        tags: [...(options.tags ?? [])],
      });
    } catch (error) {
      // Callers know the factory's own errors, not the library's wrapping.
      if (error instanceof errors.E_FACTORY_ERROR && error.cause !== undefined) throw error.cause as Error;
      throw error;
    }
  }

  return {
    async getOrSet<T>(key: string, factory: (signal: AbortSignal) => Promise<T>, options: CacheOptions, signal: AbortSignal): Promise<CacheHit<T>> {
      const calledAtMs = nowMs();
      const { value, fetchedAtMs } = await abortable(read(key, factory, options), signal);
      return { value, cached: fetchedAtMs < calledAtMs, stale: nowMs() - fetchedAtMs > options.ttlSeconds * 1000 };
    },
    async delete(key) {
      await bento.delete({ key });
    },
    async deleteByTag(tag) {
      await bento.deleteByTag({ tags: [tag] });
    },
    async close() {
      // A Redis that is away has nothing to be told.
      await bento.disconnect().catch(() => undefined);
    },
  };
}

function sharedStore(redis: RedisConnections) {
  const transport = new CacheTransport(redis);
  return bentostore({ suppressL2Errors: true, l2CircuitBreakerDuration: breakMs })
    .useL1Layer(memoryDriver(bounds))
    .useL2Layer(redisDriver({ connection: redis.cache, prefix: `${redis.prefix}:cache` }))
    .useBus({ options: { retryQueue }, factory: () => transport });
}
