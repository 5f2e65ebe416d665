import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { PieceWriter, splitPieces } from '../../../src/domains/chat/generation/piece-writer.ts';
import { toStorable } from '../../../src/domains/chat/storable-text.ts';

function createWriter(bytesMax = 1_000_000) {
  const pieces: string[] = [];
  const state = { pieces, fault: null as Error | null };
  const append = (_: string, text: string): number => {
    if (state.fault) throw state.fault;
    return pieces.push(text) - 1;
  };
  return { writer: new PieceWriter({ messageId: 'm', tokenStream: { append }, bytesMax }), state };
}

describe('the writer of pieces', () => {
  it('puts each token into the stream by itself', () => {
    const { writer, state } = createWriter();
    for (const token of ['a', 'b', 'c']) writer.write(token);
    expect(state.pieces).toEqual(['a', 'b', 'c']);
    expect(writer.written()).toEqual({ content: 'abc', pieceLengths: '1,1,1' });
  });

  it('reports as written only what readers can have', () => {
    const { writer, state } = createWriter();
    writer.write('a');
    state.fault = new Error('no stream');
    expect(() => writer.write('b')).toThrow('no stream');
    expect(writer.written()).toEqual({ content: 'a', pieceLengths: '1' });
  });

  it('tells what it has grown by in a form that goes behind what was stored before', () => {
    const { writer } = createWriter();
    for (const token of ['a', 'bc', 'd']) writer.write(token);
    for (const before of [0, 1, 2, 3]) {
      const [stored, grown] = [writer.written(before), writer.grown(before, 3)];
      expect({ content: stored.content + grown.content, pieceLengths: stored.pieceLengths + grown.pieceLengths }).toEqual(writer.written());
    }
  });

  it('cuts at the greatest length without cutting a character', () => {
    const { writer } = createWriter(10);
    expect(writer.write('aaaa🙂')).toBe(true);
    expect(writer.write('🙂')).toBe(false);
    // What would still fit is no continuation of what was cut.
    expect(writer.write('a')).toBe(false);
    expect(writer.written().content).toBe('aaaa🙂');
  });

  it('keeps every text whole however it is cut, and gives its pieces back from storage', () => {
    const cuts = fc.array(fc.nat({ max: 60 }), { maxLength: 12 });
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), cuts, (text, places) => {
        const { writer, state } = createWriter();
        const ends = [...new Set([...places, text.length])].filter((end) => end <= text.length).sort((left, right) => left - right);
        let start = 0;
        for (const end of ends) {
          writer.write(text.slice(start, end));
          start = end;
        }
            expect(writer.written().content).toBe(toStorable(text));
        expect(splitPieces(writer.written())).toEqual(state.pieces);
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
