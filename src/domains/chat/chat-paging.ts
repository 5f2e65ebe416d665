import { isId } from '../../shared/ids.ts';
import { assertPageLimit, decodeCursor, encodeCursor, type Page, type PageRequest } from '../../shared/paging.ts';
import { validationFailed } from '../../shared/errors.ts';

/** Ids are time-ordered, so the last item's id is all that a cursor needs. Throws VALIDATION_FAILED for a foreign one. */
export function readPageRequest({ limit, cursor }: PageRequest): { limit: number; fromId: string | null } {
  assertPageLimit(limit);
  if (cursor === undefined) return { limit, fromId: null };
  const [id] = decodeCursor(cursor, 1);
  if (typeof id !== 'string' || !isId(id)) throw validationFailed([{ field: 'cursor', message: 'not one that this service gave out' }]);
  return { limit, fromId: id };
}

/** From one row more than the page holds. */
export function toPage<View extends { id: string }>(views: readonly View[], limit: number, total: number | null): Page<View> {
  const items = views.slice(0, limit);
  const cursors = items.map(({ id }) => encodeCursor([id]));
  return { items, cursors, nextCursor: views.length > limit ? (cursors.at(-1) ?? null) : null, total };
}
