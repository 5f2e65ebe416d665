import { assertPageLimit, decodeIdCursor, encodeIdCursor, type Page, type PageRequest } from '../../shared/paging.ts';

/** Ids are time-ordered, so the last item's id is all that a cursor needs. Throws VALIDATION_FAILED for another list's. */
export function readPageRequest(list: string, { limit, cursor }: PageRequest): { limit: number; fromId: string | null } {
  assertPageLimit(limit);
  return { limit, fromId: cursor === undefined ? null : decodeIdCursor(list, cursor) };
}

type Rows<View> = { list: string; views: readonly View[]; limit: number; total: number | null };

/** From one row more than the page holds. */
export function toPage<View extends { id: string }>({ list, views, limit, total }: Rows<View>): Page<View> {
  const items = views.slice(0, limit);
  const cursors = items.map(({ id }) => encodeIdCursor(list, id));
  return { items, cursors, nextCursor: views.length > limit ? (cursors.at(-1) ?? null) : null, total };
}
