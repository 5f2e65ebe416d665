import { expect, it } from '@jest/globals';
import { TurnQueue } from '../../../src/shared/turn-queue.ts';

const turn = async (): Promise<void> => await new Promise((resolve) => setImmediate(resolve));

it('lets one go on in each turn of the event loop, in the order in which they came', async () => {
  const queue = new TurnQueue();
  const gone: number[] = [];
  for (const place of [1, 2, 3]) void queue.next().then(() => gone.push(place));

  const seen: number[][] = [];
  for (let turns = 0; turns < 4; turns += 1) {
    await turn();
    seen.push([...gone]);
  }
  expect(seen).toEqual([[1], [1, 2], [1, 2, 3], [1, 2, 3]]);
});

it('lets one go on that comes when all others have, and one that comes while others wait', async () => {
  const queue = new TurnQueue();
  await queue.next();
  const gone: string[] = [];
  void queue.next().then(() => {
    gone.push('first');
    void queue.next().then(() => gone.push('third'));
  });
  void queue.next().then(() => gone.push('second'));

  for (let turns = 0; turns < 4; turns += 1) await turn();
  expect(gone).toEqual(['first', 'second', 'third']);
});
