import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { chooseWindow, estimateTokens, type BranchEntry, type WindowRequest } from '../../../src/domains/chat/generation/context-window.ts';
import { toPrompt } from '../../../src/domains/chat/generation/history.repository.ts';

/** Newest first: the question, then answer, question, answer ... */
function branch(bytes: readonly number[]): BranchEntry[] {
  return bytes.map((size, place) => ({ id: `m${bytes.length - place}`, role: place % 2 === 0 ? 'user' : 'assistant', bytes: size }));
}

const request: Omit<WindowRequest, 'entries'> = { systemPromptBytes: 0, contextSize: null, maxTokens: undefined, share: 1, bytesMax: 1_000_000 };

describe('the context window', () => {
  it('holds the whole branch, oldest first, when its size is not known', () => {
    expect(chooseWindow({ ...request, entries: branch([10, 10, 10]) })).toEqual(['m1', 'm2', 'm3']);
  });

  it('drops whole turns from the old end, so that it begins with a question', () => {
    const entries = branch([300, 300, 300, 300, 300]);
    // Each takes 108 tokens; 400 less a quarter for the answer leaves room for two beside the system prompt.
    expect(chooseWindow({ ...request, entries, contextSize: 400 })).toEqual(['m5']);
    expect(chooseWindow({ ...request, entries, contextSize: 450 })).toEqual(['m3', 'm4', 'm5']);
  });

  it('keeps half of the context for the prompt however long an answer is asked for', () => {
    expect(chooseWindow({ ...request, entries: branch([300, 300, 300]), contextSize: 800, maxTokens: 100_000 })).toEqual(['m1', 'm2', 'm3']);
  });

  it('always holds the question, and never more than fits beside it', () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 5_000 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(sizes, fc.integer({ min: 1, max: 8_000 }), fc.constantFrom(1, 0.6, 0.3), (bytes, contextSize, share) => {
        const entries = branch(bytes);
        const ids = chooseWindow({ ...request, entries, contextSize, share });
        const chosen = entries.filter(({ id }) => ids.includes(id));
        expect(ids.at(-1)).toBe(entries[0]?.id);
        expect(ids).toEqual([...chosen].reverse().map(({ id }) => id));
        if (ids.length === 1) return;
        const tokens = chosen.reduce((sum, { bytes: size }) => sum + estimateTokens(size), 0);
        expect(tokens).toBeLessThanOrEqual(contextSize * share);
        if (chosen.length < entries.length) expect(chosen.at(-1)?.role).toBe('user');
      }),
    );
  });
});

describe('the prompt', () => {
  it('alternates strictly, whatever failed in between', () => {
    const prompt = toPrompt('Be kind.', [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: '' },
      { role: 'user', content: 'b' },
      { role: 'assistant', content: 'c' },
      { role: 'user', content: 'd' },
    ]);
    expect(prompt).toEqual([
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'a\n\nb' },
      { role: 'assistant', content: 'c' },
      { role: 'user', content: 'd' },
    ]);
    expect(toPrompt('  ', [])).toEqual([]);
  });
});
