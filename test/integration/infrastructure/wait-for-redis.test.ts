import { createServer } from 'node:net';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { describe, expect, it } from '@jest/globals';
import { RedisUnavailableError, waitForRedis } from '../../../src/infrastructure/redis/wait-for-redis.ts';
import { StopReason } from '../../../src/shared/abort.ts';
import { eventually } from '../../support/eventually.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';
import { startRedisServer } from '../../support/redis-server.ts';

const never = new AbortController().signal;

describe('a Redis that is configured', () => {
  it('is waited for with one line, and used as soon as it is there', async () => {
    const server = await startRedisServer();
    await server.kill();
    const logger = createRecordingLogger();
    const waiting = waitForRedis(server.url, logger, never);
    await eventually('the line', () => logger.records.length > 0);
    await server.start();
    await waiting;
    expect(logger.records.map(({ level, message }) => [level, message.replace(/at \S+/, 'at ...')])).toEqual([
      ['warn', 'Redis at ... (REDIS_URL) cannot be reached; waiting for it'],
      ['info', 'Redis at ... (REDIS_URL) is there; going on'],
    ]);
    await server.close();
  });

  it('ends the waiting at once when the start is broken off', async () => {
    const stopping = new AbortController();
    const logger = createRecordingLogger();
    const waiting = waitForRedis('redis://127.0.0.1:1', logger, stopping.signal);
    await eventually('the line', () => logger.records.length > 0);
    stopping.abort(new StopReason('shutdown'));
    await expect(waiting).rejects.toMatchObject({ why: 'shutdown' });
  });

  it('and refuses our password, or wants one, is told at once and not waited for, without the password', async () => {
    const server = await startRedisServer({ password: 'right' });
    for (const url of [server.url.replace('right', 'hunter2'), server.url.replace(':right@localhost', '')]) {
      const fault = await waitForRedis(url, createRecordingLogger(), never).catch((error: unknown) => error);
      expect(fault).toBeInstanceOf(RedisUnavailableError);
      expect(String(fault)).toMatch(/REDIS_URL: Redis at .* cannot be used: (WRONGPASS|NOAUTH)/);
      expect(String(fault)).not.toContain('hunter2');
    }
    await waitForRedis(server.url, createRecordingLogger(), never);
    await server.close();
  });

  it('and is no Redis is waited for, with what it said', async () => {
    const impostor = createServer((socket) => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n').on('error', () => undefined)).listen(0, '127.0.0.1');
    await once(impostor, 'listening');
    const logger = createRecordingLogger();
    const stopping = new AbortController();
    const waiting = waitForRedis(`redis://127.0.0.1:${(impostor.address() as AddressInfo).port}`, logger, stopping.signal);
    await eventually('the line', () => logger.records.length > 0);
    stopping.abort(new StopReason('shutdown'));
    await expect(waiting).rejects.toMatchObject({ why: 'shutdown' });
    impostor.close();
  });
});
