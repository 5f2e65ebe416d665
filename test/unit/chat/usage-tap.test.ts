import { describe, expect, it } from '@jest/globals';
import { createStreamUsageTap } from '../../../src/domains/chat/relay/usage-tap.ts';

const piece = 'data: {"choices":[{"delta":{"content":"é"}}]}\n\n';
const usage = (promptTokens: number): string => `data: {"choices":[],"usage":{"prompt_tokens":${promptTokens},"completion_tokens":2}}\n\n`;

function passed(text: string, wantsUsage = false): { text: string; tokens: number } {
  const tap = createStreamUsageTap({ wantsUsage, eventCharsMax: 1_000 });
  const parts = [...Buffer.from(text, 'utf8')].map((byte) => tap.push(Uint8Array.of(byte)) ?? new Uint8Array());
  const rest = tap.finish();
  return { text: Buffer.concat([...parts, rest]).toString('utf8'), tokens: tap.tokens };
}

describe('the reader of what a stream took', () => {
  it('passes everything on but the usage that its caller has not asked for, wherever the stream is cut', () => {
    expect(passed(`${piece}${usage(3)}data: [DONE]\n\n`)).toEqual({ text: `${piece}data: [DONE]\n\n`, tokens: 5 });
    expect(passed(`${piece}${usage(3)}data: [DONE]`, true)).toEqual({ text: `${piece}${usage(3)}data: [DONE]\n\n`, tokens: 5 });
  });

  it('counts pieces where the engine tells what no context holds', () => {
    expect(passed(`${piece}${piece}${usage(2 ** 31)}data: [DONE]\n\n`).tokens).toBe(2);
  });

  it('takes half an event at the end for a broken connection', () => {
    expect(() => passed(`${piece}data: {"choices":[{"del`)).toThrow(expect.objectContaining({ code: 'NETWORK_FAILED' }));
  });
});
