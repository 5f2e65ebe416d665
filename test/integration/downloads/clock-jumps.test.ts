import { describe, expect, it } from '@jest/globals';
import type { DownloadEvent } from '../../../src/domains/downloads/types.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import type { Clock } from '../../../src/shared/clock.ts';
import { MiB } from '../../support/downloads/engine.ts';
import { never } from '../../support/downloads/room.ts';
import { q4Bytes, q4Request, useWorld } from '../../support/downloads/world.ts';

const world = useWorld();
const hourMs = 60 * 60 * 1000;

/** The wall clock is wrong by so much; durations are not, as in a system whose time was set. */
function shifted(byMs: number): Clock {
  return { ...systemClock, now: () => new Date(systemClock.now().getTime() + byMs) };
}

describe.each([
  ['forward by an hour', hourMs],
  ['back by an hour', -hourMs],
  ['forward by ten days', 240 * hourMs],
])('a clock that jumped %s', (_name, byMs) => {
  it('between a pause and its end changes nothing: the download goes on at its offset with a new address and sane figures', async () => {
    world.slowDown();
    const { task } = await world.room.startDownload(q4Request);
    await world.sent(2 * MiB);
    const paused = await world.room.downloads.pause(task.id, never);
    await world.hub.requests.waitFor((log) => log.entries.every(({ state }) => state !== 'open'));
    world.hub.requests.clear();
    await world.reopen({ deps: { clock: shifted(byMs) } });
    // The addresses of that time are refused by now.
    world.hub.expireUrls();
    world.hub.faults.clear();
    const events: DownloadEvent[] = [];
    const stop = new AbortController();
    const watching = (async () => {
      for await (const event of world.room.downloads.watch(task.id, stop.signal)) events.push(event);
    })();
    const before = world.hub.requests.matching(/\/resolve\//).length;
    await world.room.downloads.resume(task.id, never);
    await world.room.reaches(task.id, 'completed');
    stop.abort();
    await watching;
    // What the kernel held when it was paused was read by nobody, and is no part of what is kept.
    expect(world.sentBytes()).toBeLessThan(q4Bytes - paused.downloadedBytes + 2 * MiB);
    // Asked for once a file, and not for every part because it looks old from the start.
    expect(world.hub.requests.matching(/\/resolve\//).length - before).toBeLessThanOrEqual(6);
    const seen = events.flatMap((event) => (event.type === 'progress' ? [event.task] : []));
    for (const { speedBytesPerSecond, etaSeconds, downloadedBytes, progress } of seen) {
      expect(speedBytesPerSecond).toBeGreaterThanOrEqual(0);
      expect(speedBytesPerSecond).toBeLessThanOrEqual(q4Bytes);
      expect(etaSeconds ?? 0).toBeGreaterThanOrEqual(0);
      expect(downloadedBytes).toBeGreaterThanOrEqual(paused.downloadedBytes - 2 * MiB);
      expect(progress).toBeLessThanOrEqual(1);
    }
  });

  it('does not make a download that waits for better times wait longer than that', async () => {
    const gone = world.hub.faults.inject({ fault: { kind: 'close' }, server: 'cdn' });
    const { task } = await world.room.startDownload(q4Request);
    await world.room.reaches(task.id, 'retrying');
    await world.closeRoom();
    gone.remove();
    await world.reopen({ deps: { clock: shifted(byMs) } });
    await world.room.reaches(task.id, 'completed');
  });
});
