import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { mergeStreams } from '../../../src/domains/catalog/merge-streams.ts';
import { decodeSearchCursor, encodeSearchCursor } from '../../../src/domains/catalog/search-cursor.ts';
import type { SourcePosition } from '../../../src/domains/catalog/search-cursor.ts';
import { SourceStream } from '../../../src/domains/catalog/source-stream.ts';
import type { ModelSummary, SearchRequest } from '../../../src/domains/catalog/types.ts';
import { isAppError } from '../../../src/shared/errors.ts';

const request: SearchRequest = { query: 'x', sort: 'downloads', order: 'desc', limit: 10 };

function summary(id: string, downloads: number | null): ModelSummary {
  return {
    id, source: 's', name: id, author: null, displayName: id, description: null, category: null, tags: [], license: null, parameters: null, sizeBytes: null,
    formats: [], quantizations: [], contextLength: null, downloads, likes: null, gated: null, createdAt: null, updatedAt: null, url: null,
  };
}

/** A source that holds `rows` and answers `size` of them at once. */
function streamOf(id: string, rows: readonly ModelSummary[], size: number, position: SourcePosition | null): SourceStream {
  return new SourceStream(id, position, (cursor) => {
    const from = cursor === null ? 0 : Number(cursor);
    const nextCursor = from + size < rows.length ? String(from + size) : null;
    return Promise.resolve({ kind: 'page', page: { items: rows.slice(from, from + size), nextCursor, total: null }, cached: false, stale: false, error: null });
  });
}

const counts = fc.array(fc.option(fc.nat(50), { freq: 6 }), { maxLength: 30 });
const descending = (values: readonly (number | null)[], prefix: string): ModelSummary[] =>
  values.toSorted((a, b) => (b ?? -1) - (a ?? -1)).map((downloads, index) => summary(`${prefix}${index}`, downloads));

async function readAll(lists: readonly (readonly ModelSummary[])[], options: { size: number; limit: number; sort: 'downloads' | 'relevance' }): Promise<ModelSummary[]> {
  const { size, limit, sort } = options;
  let positions: (SourcePosition | null)[] = lists.map(() => ({ cursor: null, taken: 0 }));
  let turn = 0;
  const items: ModelSummary[] = [];
  while (positions.some((position) => position !== null)) {
    const streams = lists.map((rows, index) => streamOf(String(index), rows, size, positions[index] ?? null));
    const merged = await mergeStreams(streams, { sort, order: 'desc', limit, turn, cursorAt: String });
    items.push(...merged.items);
    turn = merged.turn;
    positions = streams.map((stream) => stream.position);
  }
  return items;
}

describe('merging sources', () => {
  it('gives the same rows in the same order for every size of page', async () => {
    const sizes = fc.record({ size: fc.integer({ min: 1, max: 7 }), limit: fc.integer({ min: 1, max: 9 }), sort: fc.constantFrom('downloads' as const, 'relevance' as const) });
    await fc.assert(
      fc.asyncProperty(counts, counts, sizes, async (a, b, { size, limit, sort }) => {
        const full = [a.filter((value) => value !== null), b.filter((value) => value !== null)];
        const lists = full.map((values, index) => descending(values, `${index}-`));
        const whole = await readAll(lists, { size: 100, limit: 1000, sort });
        const paged = await readAll(lists, { size, limit, sort });
        expect(paged.map(({ id }) => id)).toEqual(whole.map(({ id }) => id));
        expect(new Set(whole.map(({ id }) => id)).size).toBe(a.filter((value) => value !== null).length + b.filter((value) => value !== null).length);
        if (sort === 'downloads') expect(whole.map(({ downloads }) => downloads)).toEqual(full.flat().sort((x, y) => y - x));
      }),
    );
  });

  it('loses no row that does not tell its figure', async () => {
    await fc.assert(
      fc.asyncProperty(counts, counts, fc.integer({ min: 1, max: 5 }), async (a, b, limit) => {
        const items = await readAll([descending(a, 'a'), descending(b, 'b')], { size: 3, limit, sort: 'downloads' });
        expect(new Set(items.map(({ id }) => id)).size).toBe(a.length + b.length);
      }),
    );
  });

  it('reads no more pages of a source than a search is worth', async () => {
    let reads = 0;
    const endless = new SourceStream('s', { cursor: null, taken: 0 }, () => {
      reads += 1;
      return Promise.resolve({ kind: 'page', page: { items: [], nextCursor: String(reads), total: null }, cached: false, stale: false, error: null });
    });
    expect((await mergeStreams([endless], { sort: 'relevance', order: 'desc', limit: 5, turn: 0, cursorAt: String })).items).toEqual([]);
    expect(reads).toBe(20);
    expect(endless.position).toEqual({ cursor: '20', taken: 0 });
  });
});

describe('search cursors', () => {
  const position = fc.record({
    pageSize: fc.integer({ min: 1, max: 100 }),
    turn: fc.nat(100),
    sources: fc.array(fc.tuple(fc.stringMatching(/^[a-z]{1,20}$/), fc.record({ cursor: fc.option(fc.string({ maxLength: 50 })), taken: fc.nat(1000) })), { maxLength: 5 }).map((entries) => new Map(entries)),
  });

  it('come back as they were for the same search', () => {
    fc.assert(fc.property(position, (given) => expect(decodeSearchCursor(request, encodeSearchCursor(request, given))).toEqual(given)));
  });

  it('are refused for another search', () => {
    const cursor = encodeSearchCursor(request, { pageSize: 20, turn: 0, sources: new Map() });
    for (const over of [{ query: 'y' }, { sort: 'likes' }, { order: 'asc' }, { source: 'a' }, { category: 'c' }, { format: 'gguf' }] as const) {
      expect(() => decodeSearchCursor({ ...request, ...over }, cursor)).toThrow(expect.objectContaining({ code: 'VALIDATION_FAILED' }));
    }
  });

  it('never fail in any other way than as refused', () => {
    const text = fc.oneof(fc.string({ maxLength: 200 }), fc.json().map((json) => Buffer.from(json).toString('base64url')));
    fc.assert(
      fc.property(text, (cursor) => {
        try {
          decodeSearchCursor(request, cursor);
        } catch (error) {
          expect(isAppError(error, 'VALIDATION_FAILED')).toBe(true);
        }
      }),
      { numRuns: 1000 },
    );
  });
});
