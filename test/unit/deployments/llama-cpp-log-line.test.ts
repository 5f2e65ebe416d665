import { describe, expect, it } from '@jest/globals';
import { parseEngineLine } from '../../../src/domains/deployments/logs/log-line.ts';

describe('parseEngineLine', () => {
  it('tells time, level and text of a line of the engine', () => {
    const line = '2026-11-23T18:57:46.599Z warn Something: with | marks';
    expect(parseEngineLine(line)).toEqual({ time: '2026-11-23T18:57:46.599Z', level: 'warn', message: 'Something: with | marks' });
  });

  it('keeps what a crash has written as an error', () => {
    const line = 'terminate called after throwing an instance of std::bad_alloc';
    expect(parseEngineLine(line)).toEqual({ time: null, level: 'error', message: line });
  });
});
