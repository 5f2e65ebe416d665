import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { createCache } from '../../../src/infrastructure/cache/bento-cache.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import type { Delivery } from '../../../src/shared/event-bus.ts';
import { newId } from '../../../src/shared/ids.ts';
import { readAll } from '../../contract/token-stream.suite.ts';
import { eventually } from '../../support/eventually.ts';
import { openRedisProcess, passed, type RedisProcess } from '../../support/redis-process.ts';
import { startRedisServer, type RedisServer } from '../../support/redis-server.ts';

const never = new AbortController().signal;

describe('while Redis is away', () => {
  let server: RedisServer;
  let writer: RedisProcess;
  let reader: RedisProcess;
  let processes: RedisProcess[] = [];
  beforeAll(async () => {
    server = await startRedisServer();
  });
  const openTwo = async (): Promise<void> => {
    const prefix = newId();
    processes = [await openRedisProcess(server.url, prefix), await openRedisProcess(server.url, prefix)];
    [writer, reader] = processes as [RedisProcess, RedisProcess];
  };
  afterEach(async () => {
    await Promise.all(processes.map((process) => process.close()));
    await server.kill();
    await server.start();
  });
  afterAll(() => server.close());

  /** Everything that comes, until the test is over. */
  function collect(process: RedisProcess): Delivery<'download.changed'>[] {
    const seen: Delivery<'download.changed'>[] = [];
    const read = async (): Promise<void> => {
      for await (const delivery of process.bus.subscribe('download.changed', { delivery: 'all' }, never)) seen.push(delivery);
    };
    void read();
    return seen;
  }
  const publish = (process: RedisProcess, status: string): void => process.bus.publish('download.changed', 't1', { taskId: 't1', status });
  const statuses = (seen: readonly Delivery<'download.changed'>[]): string[] => seen.map((delivery) => (delivery.type === 'event' ? delivery.payload.status : delivery.type));

  it('events reach the subscribers of their own process, and every subscriber elsewhere is told to read the state again when it is back', async () => {
    await openTwo();
    const [own, other] = [collect(writer), collect(reader)];
    await server.kill();
    await eventually('the loss is noticed', () => !writer.redis.isReady && !reader.redis.isReady);
    publish(writer, 'completed');
    await eventually('the own subscriber', () => statuses(own).includes('completed'));
    await server.start();
    await eventually('the others are told', () => statuses(other).includes('resync'));
    await passed(writer, reader);
    publish(writer, 'later');
    await eventually('events come again', () => statuses(other).includes('later'));
    expect(statuses(other)).not.toContain('completed');
  });

  it('an answer is written to its end, and readers elsewhere get all of it when Redis is back, none lost and none doubled', async () => {
    await openTwo();
    const message = newId();
    const reading = readAll(reader.tokens.read(message, -1));
    for (const text of ['a', 'b']) writer.tokens.append(message, text);
    await writer.tokens.flushed();
    await server.kill();
    for (const text of ['c', 'd']) writer.tokens.append(message, text);
    await writer.tokens.end(message, { status: 'completed' });
    expect(await readAll(writer.tokens.read(message, 0))).toEqual(['1:b', '2:c', '3:d', 'end 3 {"status":"completed"}']);
    await server.start();
    expect(await reading).toEqual(['0:a', '1:b', '2:c', '3:d', 'end 3 {"status":"completed"}']);
  });

  it('FLUSHALL in the middle of an answer costs no reader a piece, neither one that follows nor one that comes late', async () => {
    await openTwo();
    const message = newId();
    const following = readAll(reader.tokens.read(message, -1));
    for (const text of ['a', 'b']) writer.tokens.append(message, text);
    await writer.tokens.flushed();
    await server.command('FLUSHALL');
    writer.tokens.append(message, 'c');
    await writer.tokens.flushed();
    expect(await reader.tokens.pieces(message)).toEqual(['a', 'b', 'c']);
    await writer.tokens.end(message, {});
    const whole = ['0:a', '1:b', '2:c', 'end 2 {}'];
    expect(await following).toEqual(whole);
    expect(await readAll(reader.tokens.read(message, -1))).toEqual(whole);
  });

  it('CLIENT PAUSE makes others late and holds up nobody who writes', async () => {
    await openTwo();
    const [message, other] = [newId(), collect(reader)];
    const reading = readAll(reader.tokens.read(message, -1));
    await server.command('CLIENT', 'PAUSE', 2_000);
    publish(writer, 'running');
    for (let index = 0; index < 500; index += 1) writer.tokens.append(message, `${index} `);
    await writer.tokens.end(message, {});
    // Written and readable here although Redis has not taken anything yet.
    expect(await readAll(writer.tokens.read(message, 498))).toEqual(['499:499 ', 'end 499 {}']);
    expect(await reading).toHaveLength(501);
    await eventually('the event', () => statuses(other).includes('running'));
  });

  it('more events than may be on their way are dropped, and the others told', async () => {
    await openTwo();
    const other = collect(reader);
    const text = 'x'.repeat(100_000);
    for (let count = 0; count < 200; count += 1) publish(writer, text);
    await eventually('the others are told', () => statuses(other).includes('resync'));
    expect(statuses(other).filter((status) => status === text).length).toBeLessThan(100);
  });

  it('the cache serves what it has, fetches what it has not, and shares again when Redis is back', async () => {
    await openTwo();
    const [one, two] = [createCache(systemClock, writer.redis), createCache(systemClock, reader.redis)];
    const options = { ttlSeconds: 300, graceSeconds: 0, softTimeoutMs: 0 };
    const get = async (cache: typeof one, key: string, value: string): Promise<string> => (await cache.getOrSet(key, () => Promise.resolve(value), options, never)).value;
    expect([await get(one, 'a', 'first'), await get(two, 'a', 'second')]).toEqual(['first', 'first']);
    await one.delete('a');
    await eventually('the other forgets it too', async () => (await get(two, 'a', 'third')) === 'third');
    await server.kill();
    expect([await get(one, 'b', 'own'), await get(one, 'b', 'again'), await get(two, 'b', 'of the other')]).toEqual(['own', 'own', 'of the other']);
    await Promise.all([one.close(), two.close()]);
  });
});
