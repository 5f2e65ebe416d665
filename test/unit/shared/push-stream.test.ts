import { describe, expect, it } from '@jest/globals';
import { StopReason } from '../../../src/shared/abort.ts';
import { createGate } from '../../../src/shared/async.ts';
import { PushStream } from '../../../src/shared/push-stream.ts';

const never = new AbortController().signal;

function counting(to: number, log: string[] = []): PushStream<number> {
  return new PushStream(async (take, signal) => {
    try {
      for (let value = 1; value <= to && !signal.aborted; value += 1) await take(value);
    } finally {
      log.push('let go');
    }
  });
}

async function allOf<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const values: T[] = [];
  for await (const value of stream) values.push(value);
  return values;
}

describe('a stream that pushes', () => {
  it('hands every value on in order, changed on the way, also by changes that take time', async () => {
    const seen: string[] = [];
    const stream = counting(4).map((value) => (value % 2 === 0 ? Promise.resolve(value * 10) : value * 10)).map(String);
    await stream.each((value) => void seen.push(value), never);
    expect(seen).toEqual(['10', '20', '30', '40']);
    expect(await allOf(counting(3).map(String))).toEqual(['1', '2', '3']);
  });

  it("rejects with what its taker threw or rejected with, as it is, and lets go of what it reads", async () => {
    const log: string[] = [];
    const fault = new Error('the socket has gone');
    const fail = (): never => {
      throw fault;
    };
    const stream = (): PushStream<string> => counting(3, log).map(String).endingWith(() => 'a fault of the stream');
    await expect(stream().each(fail, never)).rejects.toBe(fault);
    await expect(stream().each(() => Promise.reject(fault), never)).rejects.toBe(fault);
    expect(log).toEqual(['let go', 'let go']);
  });

  it('tells its own fault as its last value where one is made of it, and not those of what is made of it', async () => {
    const broken = new PushStream<string>(async (take) => {
      await take('a');
      throw new Error('broken');
    });
    expect(await allOf(broken.endingWith((fault) => String(fault)))).toEqual(['a', 'Error: broken']);
    expect(await allOf(broken.endingWith(() => null))).toEqual(['a']);
    await expect(allOf(broken)).rejects.toThrow('broken');
    const worse = counting(2).endingWith(() => 0).map((value) => {
      if (value === 2) throw new Error('cannot change it');
      return value;
    });
    await expect(allOf(worse)).rejects.toThrow('cannot change it');
    expect(await allOf(worse.endingWith(() => -1))).toEqual([1, -1]);
  });

  it('gives an iterator nothing that it has not asked for', async () => {
    const made: number[] = [];
    const iterator = counting(3).map((value) => (made.push(value), value))[Symbol.asyncIterator]();
    expect(made).toEqual([]);
    expect(await iterator.next()).toEqual({ done: false, value: 1 });
    await new Promise((resolve) => setImmediate(resolve));
    expect(made).toEqual([1]);
    expect(await iterator.next()).toEqual({ done: false, value: 2 });
    await iterator.return?.();
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
    expect(made).toEqual([1, 2]);
  });

  it('ends an iterator that returns while it waits, and what it waits for', async () => {
    const log: string[] = [];
    const waiting = new PushStream<number>((_take, signal) => new Promise((resolve) => {
      signal.addEventListener('abort', () => {
        log.push('aborted');
        resolve(undefined);
      });
    }));
    const iterator = waiting[Symbol.asyncIterator]();
    const pending = iterator.next();
    await iterator.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(log).toEqual(['aborted']);
  });

  it('is made of anything that can be iterated, and lets go of it when its reader leaves or its signal aborts', async () => {
    const left: string[] = [];
    const forever = (name: string, gate: Promise<void>): AsyncIterable<number> => ({
      [Symbol.asyncIterator]: () => {
        let count = 0;
        const over = createGate();
        return {
          next: async () => {
            count += 1;
            if (count > 1) await Promise.race([gate, over.opened]);
            return left.includes(name) ? { done: true, value: undefined } : { done: false, value: count };
          },
          return: async () => {
            left.push(name);
            over.open();
            return { done: true, value: undefined };
          },
        };
      },
    });
    const closed = createGate().opened;
    await expect(PushStream.of(forever('taker', closed)).each(() => {
      throw new Error('enough');
    }, never)).rejects.toThrow('enough');
    const gone = new AbortController();
    const reading = PushStream.of(forever('signal', closed)).each(() => {
      gone.abort(new StopReason('caller_gone'));
      return undefined;
    }, gone.signal);
    await reading;
    expect(left).toEqual(['taker', 'signal']);
  });

  it('stays itself where it is asked to be one', () => {
    const stream = counting(1);
    expect(PushStream.of(stream)).toBe(stream);
  });
});
