import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { PieceWriter, splitPieces } from '../../../src/domains/chat/generation/piece-writer.ts';
import { toStorable } from '../../../src/domains/chat/storable-text.ts';
import { createGate } from '../../../src/shared/async.ts';
import type { TokenStream } from '../../../src/shared/token-stream.ts';

type Appended = { pieces: string[]; beforeAppend: () => Promise<void> };

function createWriter(bytesMax = 1_000_000) {
  const appended: Appended = { pieces: [], beforeAppend: async () => {} };
  const time = { ms: 1 };
  const tokenStream = {
    append: async (_: string, text: string) => {
      await appended.beforeAppend();
      return appended.pieces.push(text) - 1;
    },
  } as unknown as TokenStream;
  const clock = { now: () => new Date(), monotonicMs: () => time.ms, sleep: async () => {} };
  return { writer: new PieceWriter({ messageId: 'm', tokenStream, clock, bytesMax }), appended, time };
}

describe('the writer of pieces', () => {
  it('puts each token into the stream by itself while the stream keeps up', async () => {
    const { writer, appended } = createWriter();
    for (const token of ['a', 'b', 'c']) writer.write(token);
    await writer.flush();
    expect(appended.pieces).toEqual(['a', 'b', 'c']);
    expect(writer.written).toEqual({ content: 'abc', pieceLengths: '1,1,1' });
  });

  it('joins what has waited while the stream was behind, and never makes the engine wait', async () => {
    const { writer, appended, time } = createWriter();
    const gate = createGate();
    appended.beforeAppend = () => gate.opened;
    for (const token of ['a', 'b', 'c', 'd']) expect(writer.write(token)).toBe(true);
    time.ms += 21;
    gate.open();
    await writer.flush();
    expect(appended.pieces).toEqual(['a', 'bcd']);
  });

  it('reports as written only what readers can have', async () => {
    const { writer, appended } = createWriter();
    const gate = createGate();
    appended.beforeAppend = () => gate.opened;
    writer.write('a');
    expect(writer.written.content).toBe('');
    expect(writer.hasText).toBe(true);
    gate.open();
    await writer.flush();
    expect(writer.written.content).toBe('a');
  });

  it('fails with the stream, for the token after it and at the end', async () => {
    const { writer, appended } = createWriter();
    appended.beforeAppend = () => Promise.reject(new Error('no stream'));
    writer.write('a');
    await expect(writer.flush()).rejects.toThrow('no stream');
    expect(() => writer.write('b')).toThrow('no stream');
  });

  it('cuts at the greatest length without cutting a character', async () => {
    const { writer } = createWriter(10);
    expect(writer.write('aaaa🙂')).toBe(true);
    expect(writer.write('🙂')).toBe(false);
    // What would still fit is no continuation of what was cut.
    expect(writer.write('a')).toBe(false);
    await writer.flush();
    expect(writer.written.content).toBe('aaaa🙂');
  });

  it('keeps every text whole however it is cut, and gives its pieces back from storage', async () => {
    const cuts = fc.array(fc.nat({ max: 60 }), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 60 }), cuts, async (text, places) => {
        const { writer, appended } = createWriter();
        const ends = [...new Set([...places, text.length])].filter((end) => end <= text.length).sort((left, right) => left - right);
        let start = 0;
        for (const end of ends) {
          writer.write(text.slice(start, end));
          start = end;
        }
        await writer.flush();
        expect(writer.written.content).toBe(toStorable(text));
        expect(splitPieces(writer.written)).toEqual(appended.pieces);
      }),
    );
  });
});

describe('stored pieces', () => {
  it('of a text that was never streamed are one', () => {
    expect(splitPieces({ content: 'question', pieceLengths: '' })).toEqual(['question']);
    expect(splitPieces({ content: '', pieceLengths: '' })).toEqual([]);
  });
});
