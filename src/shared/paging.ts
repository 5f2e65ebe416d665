import { AppError } from './errors.ts';

/** A keyset page: `cursor` is opaque to callers and stays valid while rows are added or removed. */
export type PageRequest = { limit: number; cursor?: string | undefined };
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
    throw new AppError('VALIDATION_FAILED', 'cursor: not one that this service gave out', {
      details: { fields: [{ field: 'cursor', message: 'not one that this service gave out' }] },
      cause,
    });
  }
}

export function assertPageLimit(limit: number): void {
  if (Number.isInteger(limit) && limit >= pageLimits.min && limit <= pageLimits.max) return;
  const message = `must be a whole number from ${pageLimits.min} to ${pageLimits.max}`;
  throw new AppError('VALIDATION_FAILED', `limit: ${message}`, { details: { fields: [{ field: 'limit', message }] } });
}
