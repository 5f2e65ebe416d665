/** Pages by an opaque cursor in a Link header, as all of the Hub's lists have them. */
import type { Exchange } from './http-double.ts';
import type { HubState } from './state.ts';
import { HubError } from './state.ts';

const CURSOR = /^from:(\d+)$/;

function readCursor(cursor: string | null): number {
  if (cursor === null) return 0;
  const match = CURSOR.exec(Buffer.from(cursor, 'base64url').toString());
  if (!match) throw new HubError(400, null, 'Invalid cursor');
  return Number(match[1]);
}

export function pageOf<T>(state: HubState, exchange: Exchange, all: readonly T[], size: number): { items: T[]; headers: Record<string, string> } {
  const from = readCursor(exchange.query.get('cursor'));
  const items = all.slice(from, from + size);
  if (from + size >= all.length) return { items, headers: {} };
  const next = new URLSearchParams(exchange.query);
  next.set('cursor', Buffer.from(`from:${from + size}`).toString('base64url'));
  return { items, headers: { link: `<${state.endpoint}${exchange.path}?${next.toString()}>; rel="next"` } };
}
