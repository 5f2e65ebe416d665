import { AppError } from './errors.ts';
import { isId } from './ids.ts';

/** A keyset page: `cursor` is opaque to callers and stays valid while rows are added or removed. */
export type PageRequest = {
  limit: number;
  cursor?: string | undefined;
  /** False: the page's `total` is null, which spares a count of the whole list. */
  withTotal?: boolean;
};
export type Page<T> = {
  items: T[];
  nextCursor: string | null;
  total: number | null;
  /** One for each item, to go on after it. Left out where only whole pages can be continued. */
  cursors?: readonly string[];
};

export const pageLimits = { min: 1, max: 100, default: 20 } as const;

/** Longest cursor that is looked at; ours are far shorter. */
const cursorLengthMax = 512;

function foreignCursor(cause?: unknown): AppError {
  const message = 'not one that this service gave out for this list';
  return new AppError('VALIDATION_FAILED', `cursor: ${message}`, { details: { fields: [{ field: 'cursor', message }] }, cause });
}

export function encodeCursor(parts: readonly (string | number)[]): string {
  return Buffer.from(JSON.stringify(parts), 'utf8').toString('base64url');
}

/** Throws VALIDATION_FAILED for anything that `encodeCursor` did not make with `count` parts. */
export function decodeCursor(cursor: string, count: number): (string | number)[] {
  try {
    if (cursor.length > cursorLengthMax) throw new Error('too long');
    const parts: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    const isPart = (part: unknown): part is string | number => typeof part === 'string' || typeof part === 'number';
    if (!Array.isArray(parts) || parts.length !== count || !parts.every(isPart)) throw new Error('wrong shape');
    return parts;
  } catch (cause) {
    throw foreignCursor(cause);
  }
}

/** Cursor of a list that is in the order of its ids; `list` names it, so that another list's cursor is refused. */
export function encodeIdCursor(list: string, id: string): string {
  return encodeCursor([list, id]);
}

/** Throws VALIDATION_FAILED for anything that `encodeIdCursor` did not make for this list. */
export function decodeIdCursor(list: string, cursor: string): string {
  const [name, id] = decodeCursor(cursor, 2);
  if (name === list && typeof id === 'string' && isId(id)) return id;
  throw foreignCursor();
}

/** From one row more than the page holds, where there is one. */
export function pageOf<T>(rows: readonly T[], limit: number, total: number | null, cursorOf: (row: T) => string): Page<T> {
  const items = rows.slice(0, limit);
  const cursors = items.map(cursorOf);
  return { items, nextCursor: rows.length > limit ? (cursors.at(-1) ?? null) : null, total, cursors };
}

export function assertPageLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= pageLimits.min && limit <= pageLimits.max) return;
  const message = `must be a whole number from ${pageLimits.min} to ${pageLimits.max}`;
  throw new AppError('VALIDATION_FAILED', `limit: ${message}`, { details: { fields: [{ field: 'limit', message }] } });
}
