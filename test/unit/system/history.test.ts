import { expect, it } from '@jest/globals';
import { SampleHistory } from '../../../src/domains/system/history.ts';
import type { ResourcesSample } from '../../../src/shared/resources-sample.ts';

const start = Date.parse('2026-01-01T00:00:00.000Z');

function sampleAt(seconds: number): ResourcesSample {
  // The history looks at the time alone.
  return { collectedAt: new Date(start + seconds * 1000).toISOString() } as ResourcesSample;
}

function fill(hours: number): SampleHistory {
  const history = new SampleHistory();
  for (let seconds = 0; seconds < hours * 3600; seconds += 2) history.add(sampleAt(seconds));
  return history;
}

it('keeps six hours in about a thousand samples, the newest ten minutes whole', () => {
  const all = fill(8).since(new Date(start), 1);
  expect(all.length).toBeLessThan(1_050);
  expect(Date.parse(all[0]?.collectedAt ?? '')).toBeGreaterThanOrEqual(start + 2 * 3600_000 - 60_000);
  expect(all.slice(-300).map((sample) => sample.collectedAt)).toEqual(Array.from({ length: 300 }, (_, index) => sampleAt(8 * 3600 - 600 + index * 2).collectedAt));
});

it('thins out to the asked resolution, oldest first, from the asked time on', () => {
  const picked = fill(1).since(new Date(start + 3540_000), 20);
  expect(picked.map((sample) => sample.collectedAt)).toEqual([3540, 3560, 3580].map((seconds) => sampleAt(seconds).collectedAt));
});
