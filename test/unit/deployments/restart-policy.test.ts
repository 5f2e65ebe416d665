import { describe, expect, it } from '@jest/globals';
import { decideRestart, defaultRestartPolicy, restartDelayMs } from '../../../src/domains/deployments/restart-policy.ts';

const start = Date.parse('2026-01-01T00:00:00Z');
const at = (seconds: number): Date => new Date(start + seconds * 1000);
const crash = { clean: false, fatal: false };

it('waits 0, 10, 20, 40 ... and 300 s at most', () => {
  expect([1, 2, 3, 4, 5, 6, 7, 8, 50].map((failures) => restartDelayMs(failures) / 1000)).toEqual([0, 10, 20, 40, 80, 160, 300, 300, 300]);
});

describe('an engine that ends again and again', () => {
  it('is given up at the sixth failure within ten minutes', () => {
    let failures: readonly string[] = [];
    const actions: string[] = [];
    for (let times = 0; times < 6; times += 1) {
      const decision = decideRestart(defaultRestartPolicy, crash, failures, at(times * 60));
      actions.push(decision.action === 'restart' ? `restart in ${decision.delayMs / 1000} s` : decision.action);
      if (decision.action !== 'end') failures = decision.failures;
    }
    expect(actions).toEqual(['restart in 0 s', 'restart in 10 s', 'restart in 20 s', 'restart in 40 s', 'restart in 80 s', 'fail']);
  });

  it('is started for ever when its failures are far enough apart', () => {
    let failures: readonly string[] = [];
    for (let times = 0; times < 500; times += 1) {
      const decision = decideRestart(defaultRestartPolicy, crash, failures, at(times * 300));
      expect(decision.action).toBe('restart');
      if (decision.action === 'restart') failures = decision.failures;
    }
    expect(failures.length).toBeLessThanOrEqual(101);
  });

  it('is never started again with no retries or when trying again cannot help', () => {
    expect(decideRestart({ policy: 'always', maxRetries: 0 }, crash, [], at(0)).action).toBe('fail');
    expect(decideRestart({ policy: 'never', maxRetries: 5 }, crash, [], at(0)).action).toBe('fail');
    expect(decideRestart(defaultRestartPolicy, { clean: false, fatal: true }, [], at(0)).action).toBe('fail');
  });
});

it('lets an engine that ended well rest, unless it is always wanted', () => {
  const clean = { clean: true, fatal: false };
  expect(decideRestart({ policy: 'on_failure', maxRetries: 5 }, clean, [], at(0)).action).toBe('end');
  expect(decideRestart({ policy: 'never', maxRetries: 5 }, clean, [], at(0)).action).toBe('end');
  expect(decideRestart({ policy: 'always', maxRetries: 5 }, clean, [], at(0)).action).toBe('restart');
});
