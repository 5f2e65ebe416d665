import { LockMode } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import { ChatMessage, ChatSession } from './chat.entity.ts';

export type NewSession = Pick<ChatSession, 'id' | 'title' | 'owner' | 'systemPrompt' | 'parameters' | 'deploymentIds' | 'createdAt' | 'updatedAt'>;
export type SessionChange = Partial<Pick<ChatSession, 'title' | 'systemPrompt' | 'parameters' | 'deploymentIds'>>;
export type SessionQuery = { owner: string; search: string | undefined; beforeId: string | null; limit: number };

/** Rows of sessions. `owner` is part of every query: another owner's session cannot be told from a missing one. */
export class SessionRepository {
  readonly #em: SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = em;
  }

  async find(id: string, owner: string): Promise<ChatSession | null> {
    return await this.#em.fork().findOne(ChatSession, { id, owner });
  }

  async insert(row: NewSession): Promise<void> {
    // One statement is its own transaction: no begin and commit around it.
    await this.#em.fork().insert(ChatSession, row);
  }

  async update(id: string, owner: string, change: SessionChange & { updatedAt: Date }): Promise<ChatSession | null> {
    return await this.#em.fork().transactional(async (tx) => {
      const row = await tx.findOne(ChatSession, { id, owner }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      return row && Object.assign(row, change);
    });
  }

  /** With its messages; false when there is none. New messages wait for the lock and then find no session. */
  async delete(id: string, owner: string): Promise<boolean> {
    return await this.#em.fork().transactional(async (tx) => {
      const row = await tx.findOne(ChatSession, { id, owner }, { lockMode: LockMode.PESSIMISTIC_WRITE });
      if (!row) return false;
      await tx.execute('delete from state_events where subject_id in (select id from chat_messages where session_id = ?)', [id]);
      await tx.nativeDelete(ChatMessage, { sessionId: id });
      await tx.nativeDelete(ChatSession, { id });
      return true;
    });
  }

  /** Newest first. */
  async list(query: SessionQuery): Promise<ChatSession[]> {
    const em = this.#em.fork();
    const { owner, beforeId, limit } = query;
    if (query.search === undefined) return await em.find(ChatSession, { owner, ...(beforeId !== null && { id: { $lt: beforeId } }) }, { orderBy: { id: 'desc' }, limit });
    const { sql, values } = matching(query);
    const rows = await em.execute<{ id: string }[]>(`select s.id ${sql} order by s.id desc limit ?`, [...values, query.limit]);
    if (rows.length === 0) return [];
    return await em.find(ChatSession, { id: { $in: rows.map((row) => row.id) } }, { orderBy: { id: 'desc' } });
  }

  async count(owner: string, search: string | undefined): Promise<number> {
    const { sql, values } = matching({ owner, search, beforeId: null });
    const [row] = await this.#em.fork().execute<{ count: string | number }[]>(`select count(*) as count ${sql}`, values);
    return Number(row?.count ?? 0);
  }

  async messageCounts(ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (ids.length === 0) return new Map();
    const counts = await this.#em.fork().countBy(ChatMessage, 'sessionId', { where: { sessionId: { $in: [...ids] } } });
    return new Map(Object.entries(counts));
  }

  /** The session's own row as a transaction sees it, held until its end: turns of one session come one after another. */
  static async lock(tx: SqlEntityManager, id: string, owner: string): Promise<ChatSession | null> {
    return await tx.findOne(ChatSession, { id, owner }, { lockMode: LockMode.PESSIMISTIC_WRITE });
  }
}

/** Values travel as parameters only; the text of the query is one of a fixed few. */
function matching({ owner, search, beforeId }: Omit<SessionQuery, 'limit'>): { sql: string; values: unknown[] } {
  const conditions = ['s.owner = ?'];
  const values: unknown[] = [owner];
  if (beforeId !== null) {
    conditions.push('s.id < ?');
    values.push(beforeId);
  }
  if (search !== undefined) {
    const pattern = `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`;
    conditions.push('(s.title ilike ? or exists (select 1 from chat_messages m where m.session_id = s.id and m.content ilike ?))');
    values.push(pattern, pattern);
  }
  return { sql: `from chat_sessions s where ${conditions.join(' and ')}`, values };
}
