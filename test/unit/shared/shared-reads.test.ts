import { describe, expect, it } from '@jest/globals';
import { shareReads } from '../../../src/shared/shared-reads.ts';

type Read = { key: string; answer: (value: string) => void; fail: (error: Error) => void };

function reads(): { ask: (key: string) => Promise<string>; begun: Read[] } {
  const begun: Read[] = [];
  const ask = shareReads<string>((key) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    begun.push({ key, answer: resolve, fail: reject });
    return promise;
  });
  return { ask, begun };
}

describe('reads that are shared', () => {
  it('begin after everybody who gets their answer has asked', async () => {
    const { ask, begun } = reads();
    const first = ask('a');
    const later = [ask('a'), ask('a')];
    expect(begun).toHaveLength(1);
    begun[0]?.answer('before');
    expect(await first).toBe('before');
    begun[1]?.answer('after');
    expect(await Promise.all(later)).toEqual(['after', 'after']);
    expect(begun).toHaveLength(2);
  });

  it('fail for those who shared one, and not for who asks next', async () => {
    const { ask, begun } = reads();
    const first = ask('a');
    const second = ask('a');
    begun[0]?.fail(new Error('gone'));
    await expect(first).rejects.toThrow('gone');
    begun[1]?.answer('fine');
    expect(await second).toBe('fine');
  });

  it('of other keys run beside them, and one that is over is not remembered', async () => {
    const { ask, begun } = reads();
    const [a, b] = [ask('a'), ask('b')];
    expect(begun.map(({ key }) => key)).toEqual(['a', 'b']);
    for (const { answer } of begun) answer('1');
    expect(await Promise.all([a, b])).toEqual(['1', '1']);
    const again = ask('a');
    expect(begun).toHaveLength(3);
    begun[2]?.answer('2');
    expect(await again).toBe('2');
  });
});
