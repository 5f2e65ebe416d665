import { encodeIdCursor, type Page } from '../../shared/paging.ts';

type Rows<View> = { list: string; views: readonly View[]; limit: number; total: number | null };

/** From one row more than the page holds. */
export function toPage<View extends { id: string }>({ list, views, limit, total }: Rows<View>): Page<View> {
  const items = views.slice(0, limit);
  const cursors = items.map(({ id }) => encodeIdCursor(list, id));
  return { items, cursors, nextCursor: views.length > limit ? (cursors.at(-1) ?? null) : null, total };
}
