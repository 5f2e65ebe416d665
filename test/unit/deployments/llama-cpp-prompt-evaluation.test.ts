import { describe, expect, it } from '@jest/globals';
import type { LlamaContextSequence, Token } from 'node-llama-cpp';
import { evaluatePrompt } from '../../../src/domains/deployments/runtimes/llama-cpp/child/prompt-evaluation.ts';

type FakeSequence = { known: Token[]; parts: number[] };

/** Only what the function uses: a real sequence cannot be stopped between two of its parts at a chosen moment. */
function createSequence(known: Token[], onPart: () => void = () => undefined): FakeSequence & { sequence: LlamaContextSequence } {
  const state: FakeSequence = { known, parts: [] };
  const fake = {
    get nextTokenIndex() {
      return state.known.length;
    },
    adaptStateToTokens: async (tokens: Token[]) => {
      const different = state.known.findIndex((token, index) => token !== tokens[index]);
      if (different >= 0) state.known = state.known.slice(0, different);
    },
    evaluateWithoutGeneratingNewTokens: async (tokens: Token[]) => {
      state.known.push(...tokens);
      state.parts.push(tokens.length);
      onPart();
    },
  };
  return Object.assign(state, { sequence: fake as unknown as LlamaContextSequence });
}

const tokens = Array.from({ length: 1_000 }, (_, index) => index as Token);
const { signal } = new AbortController();

describe('evaluatePrompt', () => {
  it('evaluates all but the last token, in parts', async () => {
    const { sequence, parts } = createSequence([]);
    expect(await evaluatePrompt(sequence, tokens, signal)).toBe(0);
    expect(parts.reduce((sum, part) => sum + part, 0)).toBe(999);
    expect(Math.max(...parts)).toBeLessThanOrEqual(512);
    expect(parts.length).toBeGreaterThan(2);
  });

  it('evaluates only what the sequence does not know yet', async () => {
    const { sequence, parts } = createSequence(tokens.slice(0, 990));
    expect(await evaluatePrompt(sequence, tokens, signal)).toBe(990);
    expect(parts).toEqual([9]);
  });

  it('leaves the last token to be evaluated when all are known', async () => {
    const { sequence, parts } = createSequence([...tokens]);
    expect(await evaluatePrompt(sequence, tokens, signal)).toBe(999);
    expect(parts).toEqual([]);
  });

  it('stops after the part in which the caller went away', async () => {
    const controller = new AbortController();
    const { sequence, parts } = createSequence([], () => controller.abort(new Error('gone')));
    await expect(evaluatePrompt(sequence, tokens, controller.signal)).rejects.toThrow('gone');
    expect(parts).toHaveLength(1);
  });
});
