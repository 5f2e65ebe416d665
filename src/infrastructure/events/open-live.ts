import type { Cache } from '../../shared/cache.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import type { RequestLimiter } from '../../shared/key-limits.ts';
import type { Logger } from '../../shared/logger.ts';
import type { TokenStream } from '../../shared/token-stream.ts';
import { createCache } from '../cache/bento-cache.ts';
import type { Config } from '../config/config.ts';
import { createRequestLimiter } from '../limits/request-limiter.ts';
import { RedisConnections } from '../redis/redis-connections.ts';
import { waitForRedis } from '../redis/wait-for-redis.ts';
import { InProcessEventBus } from './in-process-event-bus.ts';
import { MemoryTokenStream } from './memory-token-stream.ts';
import { RedisEventBus } from './redis-event-bus.ts';
import { RedisTokenStream } from './redis-token-stream.ts';

/** What lives and is not state: all of it may be lost, and the database has the rest. */
export type Live = {
  readonly events: EventBus;
  readonly tokenStream: TokenStream;
  readonly cache: Cache;
  readonly requestLimiter: RequestLimiter;
  readonly kind: 'in process' | 'redis';
  /** Rejects when Redis does not answer before the signal aborts; within one process there is nothing that could not. */
  readonly ping: (signal: AbortSignal) => Promise<void>;
  close(signal: AbortSignal): Promise<void>;
};

export type OpenLiveOptions = {
  config: Config['redis'];
  clock: Clock;
  logger: Logger;
  /** Of this process. */
  instanceId: string;
  /** Of everything that works on one database, so that several may share one Redis. */
  installationId: string;
};

export async function openLive(options: OpenLiveOptions, signal: AbortSignal): Promise<Live> {
  const { config, clock } = options;
  if (config.kind === 'redis') return await openRedis(options, config.url.reveal(), signal);
  const [events, tokenStream, cache] = [new InProcessEventBus({ clock }), new MemoryTokenStream({ clock }), createCache(clock)];
  const close = async (): Promise<void> => {
    await events.close();
    tokenStream.close();
    await cache.close();
  };
  return { events, tokenStream, cache, requestLimiter: createRequestLimiter(), kind: 'in process', ping: () => Promise.resolve(), close };
}

async function openRedis({ clock, logger, instanceId, installationId }: OpenLiveOptions, url: string, signal: AbortSignal): Promise<Live> {
  await waitForRedis(url, logger, signal);
  const redis = new RedisConnections({ url, prefix: `llmm:${installationId}`, logger });
  const events = new RedisEventBus({ local: new InProcessEventBus({ clock }), redis, instanceId, logger });
  const tokenStream = new RedisTokenStream({ redis, instanceId, clock, logger });
  const cache = createCache(clock, redis);
  const close = async (deadline: AbortSignal): Promise<void> => {
    await events.close();
    await tokenStream.close(AbortSignal.any([deadline, AbortSignal.timeout(flushMs)]));
    await cache.close();
    redis.close();
  };
  try {
    await redis.open();
    await events.start(signal);
    return { events, tokenStream, cache, requestLimiter: createRequestLimiter(redis), kind: 'redis', ping: (limited) => redis.ping(limited), close };
  } catch (error) {
    await close(AbortSignal.abort());
    throw error;
  }
}

/** Ends of answers that readers of other processes wait for. */
const flushMs = 2_000;
