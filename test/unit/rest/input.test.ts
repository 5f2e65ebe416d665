import { describe, expect, it } from '@jest/globals';
import * as z from 'zod';
import { pageQuery, parseInput, queryBoolean, queryInteger, queryObject, queryTime } from '../../../src/adapters/rest/input.ts';
import { sendMessageBody, startDeploymentBody, startDownloadBody } from '../../../src/adapters/rest/request-schemas.ts';
import { isAppError } from '../../../src/shared/errors.ts';

function faultsOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    if (isAppError(error, 'VALIDATION_FAILED')) return error.details?.['fields'];
    throw error;
  }
  return 'accepted';
}

const fieldsOf = (work: () => unknown): string[] => (faultsOf(work) as { field: string }[]).map(({ field }) => field);

describe('a number in a query', () => {
  it.each(['', ' 1', '1.5', '1e3', '0x10', '١', '9'.repeat(16), '0', '101', 'NaN'])('is not %j', (text) => {
    expect(queryInteger(1, 100).safeParse(text).success).toBe(false);
  });

  it.each([['1', 1], ['100', 100], ['007', 7]])('may be %j', (text, value) => {
    expect(queryInteger(1, 100).parse(text)).toBe(value);
  });
});

describe('other parameters of a query', () => {
  it('know true and false and nothing else', () => {
    expect([queryBoolean.parse('true'), queryBoolean.parse('false')]).toEqual([true, false]);
    expect(['1', 'TRUE', '', 'yes'].filter((text) => queryBoolean.safeParse(text).success)).toEqual([]);
  });

  it('take times with any offset and refuse what is no time', () => {
    expect(queryTime.parse('2026-01-31T12:00:00+02:00')).toBe('2026-01-31T10:00:00.000Z');
    expect(['2026-01-31', 'yesterday', '2026-02-30T00:00:00Z', ''].filter((text) => queryTime.safeParse(text).success)).toEqual([]);
  });

  it('have one value each', () => {
    expect(faultsOf(() => queryObject(new URL('http://x/?limit=1&limit=2')))).toEqual([{ field: 'limit', message: 'given more than once' }]);
  });

  it('may carry any name without touching a prototype', () => {
    const given = queryObject(new URL('http://x/?__proto__=1&constructor=2'));
    expect(Object.keys(given)).toEqual(['__proto__', 'constructor']);
    expect(fieldsOf(() => parseInput(z.strictObject(pageQuery), given))).toEqual(['__proto__', 'constructor']);
  });
});

describe('a body', () => {
  it('names every field at fault at once, unknown ones included', () => {
    const body = { model_id: 5, priority: 'high', target: 'cloud', surprise: true };
    expect(fieldsOf(() => parseInput(startDownloadBody, body)).sort()).toEqual(['model_id', 'priority', 'surprise', 'target']);
  });

  it('names fields within fields', () => {
    expect(fieldsOf(() => parseInput(startDeploymentBody, { config: { health: { interval: 1 }, gpu_layers: 1.5, nope: 1 } })).sort()).toEqual([
      'config.gpu_layers',
      'config.health.interval',
      'config.nope',
    ]);
    expect(fieldsOf(() => parseInput(sendMessageBody, { message: 'hi', parameters: { temprature: 1 } }))).toEqual(['parameters.temprature']);
  });

  it('is refused with a member that would reach a prototype', () => {
    expect(fieldsOf(() => parseInput(startDownloadBody, JSON.parse('{"model_id":"a/b","__proto__":{"x":1}}')))).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>)['x']).toBeUndefined();
  });

  it.each([
    [startDeploymentBody, '{"model_id":"a/b","config":{"environment":{"A":"1","__proto__":"x"}}}', 'config.environment.__proto__'],
    [sendMessageBody, '{"message":"hi","parameters":{"response_format":{"type":"json_schema","json_schema":{"__proto__":{"x":1}}}}}', 'parameters.response_format.json_schema.__proto__'],
  ])('is refused with that name also where names are the caller\'s own: %#', (schema, body, field) => {
    expect(fieldsOf(() => parseInput<unknown>(schema, JSON.parse(body)))).toEqual([field]);
  });
});
