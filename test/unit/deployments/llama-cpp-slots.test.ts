import { describe, expect, it } from '@jest/globals';
import { QueueFullError, SlotQueue } from '../../../src/domains/deployments/runtimes/llama-cpp/child/slots.ts';

const any = (): number => 0;
const { signal } = new AbortController();

describe('SlotQueue', () => {
  it('gives the free slot that is preferred, among equals the one that rested longest', async () => {
    const queue = new SlotQueue(['a', 'b', 'c'], 0);
    expect(await queue.take((slot) => (slot === 'b' ? 5 : 0), signal)).toBe('b');
    expect(await queue.take(any, signal)).toBe('a');
    queue.give('b');
    expect(await queue.take(any, signal)).toBe('c');
    expect([queue.idleCount, queue.busyCount]).toEqual([1, 2]);
  });

  it('serves those who wait in order of arrival', async () => {
    const queue = new SlotQueue(['a'], 3);
    const served: number[] = [];
    await queue.take(any, signal);
    const waiting = [1, 2, 3].map(async (caller) => {
      const slot = await queue.take(any, signal);
      served.push(caller);
      queue.give(slot);
    });
    expect(queue.waitingCount).toBe(3);
    queue.give('a');
    await Promise.all(waiting);
    expect(served).toEqual([1, 2, 3]);
    expect([queue.idleCount, queue.busyCount, queue.waitingCount]).toEqual([1, 0, 0]);
  });

  it('refuses who comes when the line is full', async () => {
    const queue = new SlotQueue(['a'], 1);
    await queue.take(any, signal);
    const waiting = queue.take(any, signal);
    await expect(queue.take(any, signal)).rejects.toBeInstanceOf(QueueFullError);
    queue.give('a');
    expect(await waiting).toBe('a');
  });

  it('passes over who has gone away', async () => {
    const queue = new SlotQueue(['a'], 2);
    await queue.take(any, signal);
    const controller = new AbortController();
    const gone = queue.take(any, controller.signal);
    const stays = queue.take(any, signal);
    controller.abort(new Error('gone'));
    await expect(gone).rejects.toThrow('gone');
    queue.give('a');
    expect(await stays).toBe('a');
    await expect(queue.take(any, AbortSignal.abort(new Error('early')))).rejects.toThrow('early');
  });

  it('keeps a slot that was given in the moment in which the caller went away', async () => {
    const queue = new SlotQueue(['a'], 1);
    await queue.take(any, signal);
    const controller = new AbortController();
    const waiting = queue.take(any, controller.signal);
    queue.give('a');
    controller.abort();
    expect(await waiting).toBe('a');
  });
});
