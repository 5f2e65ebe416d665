import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Logger } from '../../shared/logger.ts';

export const searchIndexName = 'chat_messages_content_trigrams';

/**
 * Makes the index that a search over the text of messages goes by. Not a migration, because a database may be without
 * `pg_trgm`, or its user may not load it: a search then reads every message of its owner, and is right all the same.
 * An answer is indexed when it has ended: its text is stored anew every second before that.
 */
export async function ensureSearchIndex(em: SqlEntityManager, logger: Logger): Promise<void> {
  try {
    await em.fork().execute('create extension if not exists pg_trgm');
    await em.fork().execute(`create index if not exists ${searchIndexName} on chat_messages using gin (content gin_trgm_ops) where status <> 'streaming'`);
  } catch (err) {
    logger.info({ err }, 'the database has no index for searches in chats; they take longer');
  }
}
