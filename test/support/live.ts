import { randomUUID } from 'node:crypto';
import { openLive, type Live } from '../../src/infrastructure/events/open-live.ts';
import { Secret } from '../../src/infrastructure/config/secret.ts';
import { systemClock } from '../../src/infrastructure/system-clock.ts';
import type { Clock } from '../../src/shared/clock.ts';
import { silentLogger } from './silent-logger.ts';

export type TestLive = Pick<Live, 'events' | 'tokenStream' | 'requestLimiter'> & { close(): Promise<void> };

/**
 * Events and token streams of one service process, as the service itself makes them: over the Redis of
 * TEST_REDIS_URL, else in process. Those that are given one `installationId` hear of each other over Redis.
 */
export async function openTestLive({ clock = systemClock, installationId = randomUUID() }: { clock?: Clock; installationId?: string } = {}): Promise<TestLive> {
  const url = process.env['TEST_REDIS_URL'];
  const config = url === undefined ? ({ kind: 'none' } as const) : ({ kind: 'redis', url: new Secret(url) } as const);
  const live = await openLive({ config, clock, logger: silentLogger, instanceId: randomUUID(), installationId }, AbortSignal.timeout(10_000));
  return { events: live.events, tokenStream: live.tokenStream, requestLimiter: live.requestLimiter, close: () => live.close(AbortSignal.timeout(2_000)) };
}
