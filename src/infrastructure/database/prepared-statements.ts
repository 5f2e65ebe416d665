import { createHash } from 'node:crypto';
import type { ClientPool } from './client-pool.ts';
import { hasCode } from './sql-client.ts';

/** Each costs the server some tens of kilobytes for as long as the connection lasts. */
const preparedMax = 64;
/**
 * The statement is not known by its name, or the name is taken: somebody between us and the server mixes connections. Or
 * a table has columns of another type since it was prepared, as where a newer service has come beside this one.
 */
const namesFail = /^(26000|42P05|0A000)$/;

/**
 * Gives each text that comes with values a name, so that the server parses and plans it once a connection: a third of
 * what a turn of a chat cost the server. A name says which text it stands for, so that behind a pooler that mixes
 * connections (PgBouncer's transaction mode without `max_prepared_statements`) none is taken for another; the first
 * that is not known there ends the naming for all clients of the pool.
 */
export function prepareStatements(pool: ClientPool): void {
  const texts = new Map<string, string>();
  let isNaming = true;
  pool.on('connect', (client) => {
    const query = client.query.bind(client);
    client.query = (text, values, ...rest) => {
      const name = isNaming && typeof text === 'string' && Array.isArray(values) && values.length > 0 && rest.length === 0 ? nameOf(texts, text) : null;
      if (name === null) return query(text, values, ...rest);
      return query({ name, text, values }).catch((error: unknown) => {
        if (!hasCode(error, namesFail)) throw error;
        isNaming = false;
        // Nothing was run. A transaction is lost by it, as by any fault of the connection.
        return query(text, values);
      });
    };
  });
}

/** Null for those after the first of a pool: what matters comes early and often. */
function nameOf(texts: Map<string, string>, text: string): string | null {
  const known = texts.get(text);
  if (known !== undefined) return known;
  if (texts.size >= preparedMax) return null;
  const name = createHash('sha256').update(text).digest('base64url');
  texts.set(text, name);
  return name;
}
