import { describe, expect, it } from '@jest/globals';
import { Runner } from '../../../src/infrastructure/lifecycle/runner.ts';
import { silentLogger } from '../../support/silent-logger.ts';

describe('shutdown', () => {
  it('ends things in the reverse order of their creation', async () => {
    const ended: string[] = [];
    const runner = new Runner(silentLogger);
    for (const name of ['database', 'queue', 'server']) runner.defer(name, () => void ended.push(name));
    expect(await runner.stop(1000)).toBe(true);
    expect(ended).toEqual(['server', 'queue', 'database']);
  });

  it('goes on past a part that fails, and says that it was not clean', async () => {
    const ended: string[] = [];
    const runner = new Runner(silentLogger);
    runner.defer('database', () => void ended.push('database'));
    runner.defer('queue', () => Promise.reject(new Error('stuck')));
    expect(await runner.stop(1000)).toBe(false);
    expect(ended).toEqual(['database']);
  });

  it('gives every part the same deadline', async () => {
    const runner = new Runner(silentLogger);
    const seen: boolean[] = [];
    runner.defer('first', (signal) => void seen.push(signal.aborted));
    runner.defer('slow', (signal) => new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })));
    await runner.stop(20);
    expect(seen).toEqual([true]);
  });
});
