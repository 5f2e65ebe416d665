import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { Delivery, EventBus } from '../../src/shared/event-bus.ts';

export type EventBusUnderTest = {
  bus: EventBus;
  /** Resolves when subscriptions made before the call get what is published after it. */
  settled(): Promise<void>;
};

type Changed = Delivery<'download.changed'>;

function changed(taskId: string, status: string): { taskId: string; status: string } {
  return { taskId, status };
}

async function statusOf(iterator: AsyncIterator<Changed>): Promise<string> {
  const result: IteratorResult<Changed, undefined> = await iterator.next();
  if (result.done === true) return 'ended';
  return result.value.type === 'event' ? result.value.payload.status : result.value.type;
}

/** What every EventBus promises; `create` makes a fresh one per test. */
export function describeEventBus(name: string, create: () => Promise<EventBusUnderTest>): void {
  describe(`the event bus ${name}`, () => {
    let bus: EventBus;
    let underTest: EventBusUnderTest;
    const settled = (): Promise<void> => underTest.settled();
    let controller: AbortController;
    beforeEach(async () => {
      underTest = await create();
      bus = underTest.bus;
      controller = new AbortController();
    });
    afterEach(() => bus.close());

    it('delivers to whoever subscribed before, in order, also what came before the first pull', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'all' }, controller.signal);
      await settled();
      bus.publish('download.changed', 't1', changed('t1', 'a'));
      bus.publish('download.changed', 't2', changed('t2', 'b'));
      expect(await events.next()).toEqual({ done: false, value: { type: 'event', payload: changed('t1', 'a'), droppedBefore: 0 } });
      expect(await statusOf(events)).toBe('b');
    });

    it('delivers to a subscriber that is already waiting', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'latest' }, controller.signal);
      await settled();
      const pending = statusOf(events);
      bus.publish('download.changed', 't1', changed('t1', 'a'));
      expect(await pending).toBe('a');
    });

    it('delivers only the key and the topic that were asked for', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'all', key: 't1' }, controller.signal);
      await settled();
      bus.publish('download.changed', 't2', changed('t2', 'other key'));
      bus.publish('deployment.changed', 't1', { deploymentId: 't1', status: 'other topic' });
      bus.publish('download.changed', 't1', changed('t1', 'mine'));
      expect(await statusOf(events)).toBe('mine');
    });

    it('gives every subscriber its own copy of the stream', async () => {
      const [one, two] = [bus.subscribe('download.changed', { delivery: 'all' }, controller.signal), bus.subscribe('download.changed', { delivery: 'all' }, controller.signal)];
      await settled();
      bus.publish('download.changed', 't1', changed('t1', 'a'));
      expect(await Promise.all([statusOf(one), statusOf(two)])).toEqual(['a', 'a']);
    });

    it('keeps only the newest event per key for a subscriber that wants the latest', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'latest' }, controller.signal);
      await settled();
      for (let count = 0; count < 5_000; count += 1) bus.publish('download.changed', 't1', changed('t1', `old ${count}`));
      bus.publish('download.changed', 't2', changed('t2', 'second'));
      bus.publish('download.changed', 't1', changed('t1', 'newest'));
      await settled();
      expect([await statusOf(events), await statusOf(events)]).toEqual(['newest', 'second']);
    });

    it('holds the next event of a key back until its interval has passed, and then gives the newest', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'latest', minIntervalMs: 300 }, controller.signal);
      await settled();
      bus.publish('download.changed', 't1', changed('t1', 'first'));
      expect(await statusOf(events)).toBe('first');
      const pending = statusOf(events);
      bus.publish('download.changed', 't1', changed('t1', 'too soon'));
      for (let turn = 0; turn < 5; turn += 1) await nextTurn();
      bus.publish('download.changed', 't1', changed('t1', 'newest'));
      expect(await pending).toBe('newest');
    });

    it('holds back no other key', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'latest', minIntervalMs: 60_000 }, controller.signal);
      await settled();
      bus.publish('download.changed', 't1', changed('t1', 'first'));
      expect(await statusOf(events)).toBe('first');
      bus.publish('download.changed', 't1', changed('t1', 'held back'));
      bus.publish('download.changed', 't2', changed('t2', 'free'));
      expect(await statusOf(events)).toBe('free');
    });

    it('drops the oldest of a full queue and says how many went', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'all', queueMax: 3 }, controller.signal);
      await settled();
      for (let count = 0; count < 10; count += 1) bus.publish('download.changed', 't1', changed('t1', String(count)));
      await settled();
      expect(await events.next()).toEqual({ done: false, value: { type: 'event', payload: changed('t1', '7'), droppedBefore: 7 } });
      expect(await events.next()).toEqual({ done: false, value: { type: 'event', payload: changed('t1', '8'), droppedBefore: 0 } });
    });

    it('ends quietly when the signal aborts, also while a pull waits', async () => {
      const events = bus.subscribe('download.changed', { delivery: 'all' }, controller.signal);
      const pending = statusOf(events);
      controller.abort(new Error('gone'));
      expect(await pending).toBe('ended');
      bus.publish('download.changed', 't1', changed('t1', 'late'));
      expect(await statusOf(events)).toBe('ended');
      const after = bus.subscribe('download.changed', { delivery: 'all' }, controller.signal);
      expect(await statusOf(after)).toBe('ended');
    });

    it('ends a waiting pull when its iterator returns, and when the bus closes', async () => {
      const returned = bus.subscribe('download.changed', { delivery: 'all' }, controller.signal);
      const closed = bus.subscribe('download.changed', { delivery: 'all', key: 't1' }, controller.signal);
      const pending = [statusOf(returned), statusOf(closed)];
      await returned.return?.();
      await bus.close();
      expect(await Promise.all(pending)).toEqual(['ended', 'ended']);
    });
  });
}
