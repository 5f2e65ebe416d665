import { describe, expect, it } from '@jest/globals';
import { alertMetrics, metricTraits } from '../../../src/domains/system/alerts/alert-metrics.ts';
import { judge, noMemory, verdictOf, type Memory } from '../../../src/domains/system/alerts/judge.ts';
import type { AlertRuleView } from '../../../src/domains/system/alerts/types.ts';

type Rule = Pick<AlertRuleView, 'metric' | 'comparison' | 'threshold' | 'forSeconds'>;

const lowDisk: Rule = { metric: 'disk_free_percent', comparison: 'below', threshold: 10, forSeconds: 60 };
const hot: Rule = { metric: 'gpu_temperature_celsius', comparison: 'above', threshold: 80, forSeconds: 0 };
const failed: Rule = { metric: 'deployment_failed', comparison: null, threshold: null, forSeconds: 0 };
const restarting: Rule = { metric: 'deployment_restarting', comparison: null, threshold: null, forSeconds: 15 };

/** Plays `[second, value]` through a rule and answers what was done when. */
function play(rule: Rule, values: readonly (readonly [number, number | null])[], startsOpen = false): string[] {
  let memory: Memory = noMemory;
  let isOpen = startsOpen;
  return values.flatMap(([second, value]) => {
    const judged = judge(rule, { value, isOpen, memory, nowMs: second * 1000 });
    ({ memory } = judged);
    if (judged.action === null) return [];
    isOpen = judged.action === 'raise';
    return [`${judged.action}@${second}`];
  });
}

describe('a rule', () => {
  it('raises only what was bad without a break for as long as it says', () => {
    expect(play(lowDisk, [[0, 9], [30, 9], [59, 9], [60, 9]])).toEqual(['raise@60']);
    expect(play(lowDisk, [[0, 9], [50, 11], [52, 9], [60, 9], [111, 9]])).toEqual([]);
  });

  it('says when it will have been bad for long enough, and then is', () => {
    const first = judge(lowDisk, { value: 9, isOpen: false, memory: noMemory, nowMs: 5_000 });
    expect(first).toMatchObject({ action: null, dueAtMs: 65_000 });
    expect(judge(lowDisk, { value: 9, isOpen: false, memory: first.memory, nowMs: 65_000 })).toMatchObject({ action: 'raise', dueAtMs: null });
  });

  it('raises one alert of what swings around its threshold, and ends it once it is well by a margin and for a while', () => {
    const swinging = Array.from({ length: 100 }, (_, index) => [index * 2, index % 2 === 0 ? 81 : 79] as const);
    expect(play(hot, swinging)).toEqual(['raise@0']);
    expect(play(hot, [[0, 81], [2, 76], [8, 76], [11, 76], [12, 76]])).toEqual(['raise@0', 'resolve@12']);
    expect(play(hot, [[0, 81], [2, 76], [11, 78], [13, 76], [22, 76], [23, 76]])).toEqual(['raise@0', 'resolve@23']);
  });

  it('needs as long to end an alert as to raise it', () => {
    expect(play(lowDisk, [[0, 13], [59, 13], [60, 13]], true)).toEqual(['resolve@60']);
  });

  it('tells a state at once, and its end at once where nothing can swing', () => {
    expect(play(failed, [[0, 1], [1, 1], [2, 0]])).toEqual(['raise@0', 'resolve@2']);
  });

  it('takes what it cannot tell neither for good nor for bad', () => {
    expect(play(failed, [[0, null], [1, null]])).toEqual([]);
    expect(play(failed, [[0, 1], [1, null], [2, null]])).toEqual(['raise@0']);
    // Between two crashes an engine starts: neither crashed nor recovered.
    expect(play(restarting, [[0, 1], [2, null], [10, 1], [12, null], [20, 1]])).toEqual(['raise@20']);
    expect(play(restarting, [[0, 0], [59, 0], [60, null], [61, 0], [120, 0], [121, 0]], true)).toEqual(['resolve@121']);
  });

  it.each(alertMetrics)('on %s can be met and left again with each threshold that it may have', (metric) => {
    const { threshold: bounds } = metricTraits[metric];
    if (!bounds) {
      expect([verdictOf({ metric, comparison: null, threshold: null }, 1), verdictOf({ metric, comparison: null, threshold: null }, 0)]).toEqual(['bad', 'good']);
      return;
    }
    const { min, max } = bounds;
    for (const share of [0.01, 0.25, 0.5, 0.9, 0.99]) {
      const threshold = min + (max - min) * share;
      expect(verdictOf({ metric, comparison: 'above', threshold }, bounds.unit === 'percent' ? 100 : max * 2)).toBe('bad');
      expect(verdictOf({ metric, comparison: 'above', threshold }, 0)).toBe('good');
      expect(verdictOf({ metric, comparison: 'below', threshold }, 0)).toBe('bad');
      expect(verdictOf({ metric, comparison: 'below', threshold }, bounds.unit === 'percent' ? 100 : max * 2)).toBe('good');
    }
  });
});
