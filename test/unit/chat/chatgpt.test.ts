import { describe, expect, it } from '@jest/globals';
import { readChatGpt } from '../../../src/domains/chat/import/chatgpt.ts';

const said = (role: string, parent: string | null) => ({ parent, message: { author: { role }, content: { content_type: 'text', parts: ['Hello'] } } });

describe("a conversation of ChatGPT", () => {
  // Passing the chain for each message would be 600 million steps, which no test has the time for.
  it('is read in the time of its length, however many messages hang below a long chain of what is left out', () => {
    const hidden = Array.from({ length: 30_000 }, (_, index): [string, object] => [`h${index}`, { parent: index === 0 ? 'first' : `h${index - 1}`, message: null }]);
    const below = Array.from({ length: 20_000 }, (_, index): [string, object] => [`u${index}`, said('user', 'h29999')]);
    const [conversation] = readChatGpt({ mapping: Object.fromEntries([['first', said('assistant', null)], ...hidden, ...below]) });
    expect(new Set(conversation!.messages.map(({ parentKey }) => parentKey))).toEqual(new Set([null, 'first']));
    expect(conversation!.messages).toHaveLength(20_001);
  });
});
