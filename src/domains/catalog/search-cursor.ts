import { createHash } from 'node:crypto';
import { z } from 'zod';
import { validationFailed } from '../../shared/errors.ts';
import type { SearchRequest, SourceId } from './types.ts';

/** Where a search stands in one source: the page that it reads and how many rows of it are given out. */
export type SourcePosition = { cursor: string | null; taken: number };

export type SearchPosition = {
  /** Rows that are asked of a source at once: the same for all pages of a search, so that `taken` keeps its meaning. */
  pageSize: number;
  /** Whose turn it is where sources take turns. */
  turn: number;
  /** A source that is at its end is not among them. */
  sources: ReadonlyMap<SourceId, SourcePosition>;
};

const cursorLengthMax = 4096;
const sourceCursorLengthMax = 1600;

const schema = z.tuple([
  z.literal(1),
  z.string().length(16),
  z.int().min(1).max(100),
  z.int().min(0).max(100),
  z.array(z.tuple([z.string().max(32), z.string().max(sourceCursorLengthMax).nullable(), z.int().min(0).max(1000)])).max(100),
]);

/** Ties a cursor to its search: with other words or another order the positions in it would mean nothing. */
function fingerprint({ query, source, category, format, sort, order }: SearchRequest): string {
  const text = JSON.stringify([query, source ?? null, category ?? null, format ?? null, sort, order]);
  return createHash('sha256').update(text).digest('hex').slice(0, 16);
}

export function encodeSearchCursor(request: SearchRequest, { pageSize, turn, sources }: SearchPosition): string {
  const positions = [...sources].map(([source, { cursor, taken }]) => [source, cursor, taken]);
  return Buffer.from(JSON.stringify([1, fingerprint(request), pageSize, turn, positions]), 'utf8').toString('base64url');
}

/** Throws VALIDATION_FAILED for what `encodeSearchCursor` did not make for the same search. */
export function decodeSearchCursor(request: SearchRequest, cursor: string): SearchPosition {
  const parsed = cursor.length > cursorLengthMax ? undefined : schema.safeParse(parseJson(cursor));
  if (!parsed?.success) throw validationFailed([{ field: 'cursor', message: 'not one that this service gave out' }]);
  const [, print, pageSize, turn, positions] = parsed.data;
  if (print !== fingerprint(request)) throw validationFailed([{ field: 'cursor', message: 'belongs to another search' }]);
  return { pageSize, turn, sources: new Map(positions.map(([source, at, taken]) => [source, { cursor: at, taken }])) };
}

function parseJson(cursor: string): unknown {
  try {
    return JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8')) as unknown;
  } catch {
    // Refused by the schema, like everything else that is not ours.
    return null;
  }
}
