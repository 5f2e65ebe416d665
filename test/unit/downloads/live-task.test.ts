import { describe, expect, it } from '@jest/globals';
import type { Figures, FileRow } from '../../../src/domains/downloads/download.repository.ts';
import { LiveTask } from '../../../src/domains/downloads/live-task.ts';
import { eventually } from '../../support/eventually.ts';
import { createManualClock } from '../../support/manual-clock.ts';

const fileOf = (path: string): FileRow => ({
  id: path, taskId: 'task', position: 0, path, sizeBytes: 10, downloadedBytes: 0, status: 'pending', sha256: null, gitSha1: 'a'.repeat(40), sourceStatus: null, scan: null,
});

function open(answers: boolean[] = []) {
  const clock = createManualClock();
  const saved: Figures[] = [];
  const save = (figures: Figures): Promise<boolean> => Promise.resolve(answers[saved.push(figures) - 1] ?? true);
  return { clock, saved, task: new LiveTask({ files: ['a', 'b', 'c'].map(fileOf), clock, publish: () => undefined, save }) };
}

describe('the figures of a running task', () => {
  it('are stored of the files that have changed alone, with the sum of all', async () => {
    const { clock, saved, task } = open();
    task.progress('a', 4, 4);
    clock.advance(1_000);
    await eventually('they are stored', () => saved.length === 1);
    task.complete('b', 'f'.repeat(64));
    await task.close();
    expect(saved).toEqual([
      { downloadedBytes: 4, files: [{ path: 'a', downloadedBytes: 4, status: 'running' }] },
      { downloadedBytes: 14, files: [{ path: 'b', downloadedBytes: 10, status: 'completed', sha256: 'f'.repeat(64) }] },
    ]);
  });

  it('are stored with the next ones when that was not possible', async () => {
    const { clock, saved, task } = open([false]);
    task.progress('a', 4, 4);
    clock.advance(1_000);
    await eventually('it was tried', () => saved.length === 1);
    await task.close();
    expect(saved[1]).toEqual(saved[0]);
  });
});
