import { LockMode } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Page, PageRequest } from '../../shared/paging.ts';
import { lockRow, marksOf, readRow, readRowPage, type Condition } from '../../shared/persistence/read-rows.repository.ts';
import { runStatement } from '../../shared/persistence/run-statement.repository.ts';
import { insertOf } from '../../shared/persistence/write-rows.repository.ts';
import { ChatMessage, ChatSession } from './chat.entity.ts';

export type NewSession = Pick<ChatSession, 'id' | 'title' | 'owner' | 'systemPrompt' | 'parameters' | 'deploymentIds' | 'createdAt' | 'updatedAt'>;
export type SessionChange = Partial<Pick<ChatSession, 'title' | 'systemPrompt' | 'parameters' | 'deploymentIds'>>;
export type CountedSession = ChatSession & { messageCount: number };

const listName = 'sessions';
const messageCount = 'select count(*) from chat_messages m where m.session_id = chat_sessions.id';

/** Rows of sessions. `owner` is part of every query: another owner's session cannot be told from a missing one. */
export class SessionRepository {
  readonly #em: SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = em;
  }

  async find(id: string, owner: string): Promise<ChatSession | null> {
    return await readRow(this.#em, ChatSession, [['id = ?', id], ['owner = ?', owner]]);
  }

  async findCounted(id: string, owner: string): Promise<CountedSession | null> {
    return (await readRow(this.#em, ChatSession, [['id = ?', id], ['owner = ?', owner]], { messageCount })) as CountedSession | null;
  }

  async insert(row: NewSession): Promise<void> {
    await runStatement(this.#em, insertOf(this.#em, ChatSession, [row]));
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
  async list(owner: string, search: string | undefined, page: PageRequest): Promise<Page<CountedSession>> {
    // `figures` are part of each row.
    return (await readRowPage(this.#em, ChatSession, { list: listName, page, matching: [['owner = ?', owner], containing(search, owner)], figures: { messageCount } })) as Page<CountedSession>;
  }

  async messageCount(id: string): Promise<number> {
    const { rows } = await runStatement(this.#em, { text: 'select count(*) as count from chat_messages where session_id = ?', values: [id] });
    return Number(rows[0]?.['count']);
  }

  async messageCounts(ids: readonly string[]): Promise<ReadonlyMap<string, number>> {
    if (ids.length === 0) return new Map();
    const rows = await this.#em.execute<{ id: string; count: string | number }[]>(`select session_id as id, count(*) as count from chat_messages where session_id in (${marksOf(ids)}) group by session_id`, [...ids]);
    return new Map(rows.map(({ id, count }) => [id, Number(count)]));
  }

  /** The session's own row as a transaction sees it, held until its end: turns of one session come one after another. */
  static async lock(tx: SqlEntityManager, id: string, owner: string): Promise<ChatSession | null> {
    return await lockRow(tx, ChatSession, [['id = ?', id], ['owner = ?', owner]]);
  }
}

/** Written as the indexes of `search-index.repository.ts` are: without answers that are being written, which have their own. */
function containing(search: string | undefined, owner: string): Condition {
  const pattern = search === undefined ? undefined : `%${search.replaceAll(/[\\%_]/g, '\\$&')}%`;
  const inMessages = "select m.session_id from chat_messages m where m.owner = ? and (m.status <> 'streaming' and m.content ilike ? or m.status = 'streaming' and m.content ilike ?)";
  return [`(title ilike ? or id in (${inMessages}))`, pattern, owner, pattern, pattern];
}
