import { BentoCache, bentostore, errors } from 'bentocache';
import { memoryDriver } from 'bentocache/drivers/memory';
import { abortable } from '../../shared/async.ts';
import type { Cache, CacheHit, CacheOptions } from '../../shared/cache.ts';
import type { Clock } from '../../shared/clock.ts';

/** A factory works for all callers that wait for its key, so no single caller's signal may end it; this does. */
const factoryTimeoutMs = 30_000;
const bounds = { maxItems: 5_000, maxSize: '64mb', maxEntrySize: '4mb' } as const;

/** The time of the fetch travels with the value: the store itself does not tell fresh from stale. */
type Entry<T> = { value: T; fetchedAtMs: number };

/** Cache in this process's memory, bounded in items and bytes. */
export function createMemoryCache(clock: Pick<Clock, 'now'>): Cache & { close(): Promise<void> } {
  const bento = new BentoCache({ default: 'memory', stores: { memory: bentostore().useL1Layer(memoryDriver(bounds)) } });
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
      await bento.disconnect();
    },
  };
}
