import { InProcessEventBus } from '../../src/infrastructure/events/in-process-event-bus.ts';
import { RedisEventBus } from '../../src/infrastructure/events/redis-event-bus.ts';
import { RedisTokenStream } from '../../src/infrastructure/events/redis-token-stream.ts';
import { RedisConnections } from '../../src/infrastructure/redis/redis-connections.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import { newId } from '../../src/shared/ids.ts';
import { eventually } from './eventually.ts';
import { silentLogger } from './silent-logger.ts';

/** What one service process has of Redis. */
export type RedisProcess = { redis: RedisConnections; bus: RedisEventBus; tokens: RedisTokenStream; close(): Promise<void> };

/** Those with the same prefix hear of each other. */
export async function openRedisProcess(url: string, prefix: string): Promise<RedisProcess> {
  const common = { instanceId: newId(), logger: silentLogger };
  const redis = new RedisConnections({ url, prefix, logger: silentLogger });
  await redis.open();
  const bus = new RedisEventBus({ ...common, redis, local: new InProcessEventBus({ clock: systemClock }) });
  await bus.start(AbortSignal.timeout(10_000));
  const tokens = new RedisTokenStream({ ...common, redis, clock: systemClock });
  const close = async (): Promise<void> => {
    await bus.close();
    await tokens.close(AbortSignal.timeout(2_000));
    redis.close();
  };
  return { redis, bus, tokens, close };
}

/** Resolves when `to` has got everything that `from` published before, also after an outage of Redis. */
export async function passed(from: RedisProcess, to: RedisProcess): Promise<void> {
  const marker = newId();
  const ended = new AbortController();
  const arrivals = to.bus.subscribe('access.key_changed', { key: marker, delivery: 'latest' }, ended.signal);
  let isHere = false;
  void arrivals.next().then(() => (isHere = true));
  await eventually('the marker', () => {
    from.bus.publish('access.key_changed', marker, { keyId: marker });
    return isHere;
  });
  ended.abort();
}
