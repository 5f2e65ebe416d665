import { metricTraits } from './alert-metrics.ts';
import type { AlertRuleView } from './types.ts';

/** What a rule says of a value. `between`: on the good side of the threshold, but not yet by the margin. */
export type Verdict = 'bad' | 'between' | 'good';

/** Since when, on the monotonic clock, it has been bad before it is told, or good again before that is told. */
export type Memory = { badSinceMs: number | null; goodSinceMs: number | null };

export type Judgement = {
  memory: Memory;
  action: 'raise' | 'resolve' | null;
  /** When the same value would lead to an action; null when it would to none. */
  dueAtMs: number | null;
};

export const noMemory: Memory = { badSinceMs: null, goodSinceMs: null };

type Limits = Pick<AlertRuleView, 'metric' | 'comparison' | 'threshold' | 'forSeconds'>;

/** A state's value is 1 where it is there and 0 where it is not. */
export function verdictOf({ metric, comparison, threshold }: Omit<Limits, 'forSeconds'>, value: number): Verdict {
  if (threshold === null || comparison === null) return value > 0 ? 'bad' : 'good';
  const margin = metricTraits[metric].margin(threshold);
  const beyond = comparison === 'above' ? value - threshold : threshold - value;
  if (beyond > 0) return 'bad';
  return beyond <= -margin ? 'good' : 'between';
}

/**
 * What to do about one target of a rule. A value that cannot be told (null) changes nothing and raises nothing: neither
 * does time that passes meanwhile count as good.
 */
export function judge(rule: Limits, { value, isOpen, memory, nowMs }: { value: number | null; isOpen: boolean; memory: Memory; nowMs: number }): Judgement {
  if (value === null) return { memory: { ...memory, goodSinceMs: null }, action: null, dueAtMs: null };
  const verdict = verdictOf(rule, value);
  if (isOpen) {
    if (verdict !== 'good') return { memory: noMemory, action: null, dueAtMs: null };
    const goodSinceMs = memory.goodSinceMs ?? nowMs;
    const dueAtMs = goodSinceMs + settleMsOf(rule);
    return { memory: { badSinceMs: null, goodSinceMs }, ...decide('resolve', dueAtMs, nowMs) };
  }
  if (verdict !== 'bad') return { memory: noMemory, action: null, dueAtMs: null };
  const badSinceMs = memory.badSinceMs ?? nowMs;
  return { memory: { badSinceMs, goodSinceMs: null }, ...decide('raise', badSinceMs + rule.forSeconds * 1000, nowMs) };
}

function decide(action: 'raise' | 'resolve', dueAtMs: number, nowMs: number): Pick<Judgement, 'action' | 'dueAtMs'> {
  return nowMs >= dueAtMs ? { action, dueAtMs: null } : { action: null, dueAtMs };
}

/** At least as long as it had to be bad: what comes and goes would be told each time otherwise. */
function settleMsOf({ metric, forSeconds }: Limits): number {
  const { settleSeconds } = metricTraits[metric];
  return (settleSeconds === 0 ? 0 : Math.max(settleSeconds, forSeconds)) * 1000;
}
