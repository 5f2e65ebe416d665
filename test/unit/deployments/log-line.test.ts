import { expect, it } from '@jest/globals';
import * as fc from 'fast-check';
import { neutralise, parseEngineLine } from '../../../src/domains/deployments/logs/log-line.ts';

it('leaves no character that a terminal or a reader could be fooled by, whatever comes', () => {
  const hostile = fc.string({ unit: fc.constantFrom('\u001B', '[', ']', '0', ';', '\u0007', '\u009B', '\u202E', '\u2066', '\u2028', '\r', '\n', '\0', '\t', 'a', '\u061C', '\uFEFF') });
  fc.assert(fc.property(fc.oneof(hostile, fc.string({ unit: 'binary' })), (text) => !/[\p{Cc}\u061C\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/u.test(neutralise(text).replaceAll('\t', ''))));
});

it('leaves ordinary text of any language as it is', () => {
  for (const text of ['plain\ttext', 'größe 模型 модель', '🎉 {json: "ok"} 100 %', 'naïve']) expect(neutralise(text)).toBe(text);
});

it('takes a line of our own engine apart and guesses for others', () => {
  expect(parseEngineLine('2026-01-01T00:00:00.000Z debug some text')).toEqual({ time: '2026-01-01T00:00:00.000Z', level: 'debug', message: 'some text' });
  expect(parseEngineLine('2026-01-01T00:00:00.000Z shout some text')).toMatchObject({ time: null, level: 'info' });
  expect(parseEngineLine('ggml_cuda: ERROR out of memory').level).toBe('error');
});
