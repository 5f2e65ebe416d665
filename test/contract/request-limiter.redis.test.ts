import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { RedisConnections } from '../../src/infrastructure/redis/redis-connections.ts';
import { createRequestLimiter } from '../../src/infrastructure/limits/request-limiter.ts';
import type { Principal } from '../../src/shared/principal.ts';
import { newId } from '../../src/shared/ids.ts';
import { startRedisServer, type RedisServer } from '../support/redis-server.ts';
import { silentLogger } from '../support/silent-logger.ts';

const keyOf = (requestsPerMinute: number): Principal => ({ keyId: newId(), owner: 'anna', role: 'USER', limits: { requestsPerMinute, tokensPerDay: null } });

describe('requests a minute over Redis', () => {
  let redis: RedisServer;
  const open: RedisConnections[] = [];
  const connect = async (prefix: string): Promise<RedisConnections> => {
    const connections = new RedisConnections({ url: redis.url, prefix, logger: silentLogger });
    open.push(connections);
    await connections.open();
    return connections;
  };
  beforeAll(async () => {
    redis = await startRedisServer();
  });
  afterAll(async () => {
    for (const connections of open) connections.close();
    await redis.close();
  });

  it('are counted by all processes together', async () => {
    const limiters = [createRequestLimiter(await connect('one')), createRequestLimiter(await connect('one'))];
    const principal = keyOf(50);
    const outcomes = await Promise.allSettled(Array.from({ length: 80 }, async (_, index) => await limiters[index % 2]!.take(principal)));
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(50);
  });

  it('of another installation on the same Redis are counted apart', async () => {
    const principal = keyOf(1);
    await createRequestLimiter(await connect('two')).take(principal);
    await createRequestLimiter(await connect('three')).take(principal);
  });

  it('are counted by each process while Redis is away', async () => {
    const connections = await connect('four');
    const limiter = createRequestLimiter(connections);
    const principal = keyOf(2);
    await limiter.take(principal);
    await redis.kill();
    await limiter.take(principal);
    await limiter.take(principal);
    await expect(limiter.take(principal)).rejects.toMatchObject({ code: 'RATE_LIMITED' });
  });
});
