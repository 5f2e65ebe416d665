import type { SqlEntityManager } from '@mikro-orm/sql';
import type { StoredError } from '../../shared/errors.ts';
import type { Page, PageRequest } from '../../shared/paging.ts';
import { marksOf, readRow, readRowPage, readRows } from '../../shared/persistence/read-rows.repository.ts';
import { runStatement } from '../../shared/persistence/run-statement.repository.ts';
import { transition } from '../../shared/persistence/transition.repository.ts';
import { runUpdate, updateOf } from '../../shared/persistence/write-rows.repository.ts';
import { ChatMessage, type MessageRow } from './chat.entity.ts';
import { chatMessageMachine } from './chat-message.machine.ts';
import type { FinishReason, MessageStatus, MessageUsage } from './types.ts';

export type PartialText = { content: string; pieceLengths: string };

/** What a stored text of `hadBytes` bytes of UTF-8 has grown by. */
export type GrownText = PartialText & { id: string; hadBytes: number };

export type EndedAnswer = {
  status: Exclude<MessageStatus, 'streaming'>;
  /** Missing: what is stored stays. */
  text?: PartialText;
  usage: MessageUsage | null;
  finishReason: FinishReason | null;
  error: StoredError | null;
};

export type MessageQuery = { sessionId: string; owner: string; afterId: string | null; throughId?: string; limit: number };

/** Telling an end twice does no harm. */
const clockSkewMs = 60_000;
const endedMax = 100;

/** Rows of messages; callers' queries carry the owner. */
export class MessageRepository {
  readonly #em: SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = em;
  }

  async find(id: string, owner: string): Promise<ChatMessage | null> {
    return await readRow(this.#em, ChatMessage, [['id = ?', id], ['owner = ?', owner]]);
  }

  async findMany(ids: readonly string[], owner: string): Promise<ChatMessage[]> {
    return await this.#em.fork().find(ChatMessage, { id: { $in: [...ids] }, owner });
  }

  async findWithPieces(id: string, owner: string): Promise<ChatMessage | null> {
    return await this.#em.fork().findOne(ChatMessage, { id, owner }, { populate: ['pieceLengths'] });
  }

  /** Oldest first. */
  async list({ sessionId, owner, afterId, throughId, limit }: MessageQuery): Promise<ChatMessage[]> {
    const id = { ...(afterId === null ? {} : { $gt: afterId }), ...(throughId === undefined ? {} : { $lte: throughId }) };
    const where = Object.keys(id).length > 0 ? { sessionId, owner, id } : { sessionId, owner };
    return await this.#em.fork().find(ChatMessage, where, { orderBy: { id: 'asc' }, limit });
  }

  /** Oldest first. Each session is a list of its own. */
  async page(sessionId: string, owner: string, page: PageRequest): Promise<Page<ChatMessage>> {
    const matching = [['session_id = ?', sessionId], ['owner = ?', owner]] as const;
    return await readRowPage(this.#em, ChatMessage, { list: sessionId, page, matching, order: 'asc' });
  }

  /** The first `limit` of each session, oldest first. */
  async firstOfEach(sessionIds: readonly string[], owner: string, limit: number): Promise<ChatMessage[]> {
    if (sessionIds.length === 0) return [];
    const placed = `select id as placed_id, row_number() over (partition by session_id order by id) as place
      from chat_messages where owner = ? and session_id in (${marksOf(sessionIds)})`;
    return await readRows(this.#em, ChatMessage, `join (${placed}) as placed on placed_id = id where place <= ? order by id`, [owner, ...sessionIds, limit]);
  }

  async newest(sessionId: string, owner: string): Promise<ChatMessage | null> {
    return await this.#em.fork().findOne(ChatMessage, { sessionId, owner }, { orderBy: { id: 'desc' } });
  }

  /** The answers that were made together with their question. */
  async answersOf(question: MessageRow): Promise<ChatMessage[]> {
    const { id: parentId, createdAt } = question;
    return await this.#em.fork().find(ChatMessage, { parentId, createdAt, role: 'assistant' }, { orderBy: { id: 'asc' } });
  }

  async unfinishedOf(sessionId: string, owner: string): Promise<string[]> {
    const rows = await this.#em.fork().find(ChatMessage, { sessionId, owner, status: 'streaming' }, { fields: ['id'] });
    return rows.map((row) => row.id);
  }

  /**
   * Adds to the texts of answers that are being generated; the ids of those that it has added to. Left out are those that
   * have ended, that have another text than was thought, or that somebody else is changing at this moment.
   */
  async appendPartials(grown: readonly GrownText[]): Promise<ReadonlySet<string>> {
    const { rows } = await runStatement(this.#em, {
      text: `with grown as (select * from unnest(?::uuid[], ?::integer[], ?::text[], ?::text[]) as grown (id, had_bytes, content, piece_lengths)),
         held as (select id from chat_messages where id in (select id from grown) and status = 'streaming' for update skip locked)
       update chat_messages as now set content = now.content || grown.content, piece_lengths = now.piece_lengths || grown.piece_lengths
       from grown join held on held.id = grown.id
       where now.id = held.id and octet_length(now.content) = grown.had_bytes returning now.id`,
      // One text for any number of rows.
      values: [grown.map(({ id }) => id), grown.map(({ hadBytes }) => hadBytes), grown.map(({ content }) => content), grown.map(({ pieceLengths }) => pieceLengths)],
    });
    return new Set(rows.map(({ id }) => String(id)));
  }

  /** False when the answer is not being generated any more, as far as the database knows. */
  async savePartial(id: string, text: PartialText): Promise<boolean> {
    return (await runUpdate(this.#em, updateOf(this.#em, ChatMessage, text, [['id = ?', id], ["status = 'streaming'"]]))) > 0;
  }

  /** Text, figures and state in one transaction; false when it had ended already or is gone. */
  async end(id: string, { status, text, usage, finishReason, error }: EndedAnswer, at: Date): Promise<boolean> {
    const patch = { ...text, usage, finishReason, error, finishedAt: at };
    const reason = error ? { reason: error.message } : {};
    return (await transition(this.#em, ChatMessage, { machine: chatMessageMachine, id, to: status, patch, at, ...reason })) !== null;
  }

  /** Each service process once that has unfinished answers to its name; null for those of nobody. */
  async makersOfUnfinished(): Promise<(string | null)[]> {
    const rows = await this.#em.fork().execute<{ instance_id: string | null }[]>("select distinct instance_id from chat_messages where status = 'streaming'");
    return rows.map((row) => row.instance_id);
  }

  async unfinishedBy(instanceId: string | null, limit: number): Promise<{ id: string; sessionId: string; content: string }[]> {
    const where = { status: 'streaming' as const, instanceId };
    return await this.#em.fork().find(ChatMessage, where, { fields: ['id', 'sessionId', 'content'], orderBy: { id: 'asc' }, limit });
  }

  /** Answers of a session that have ended at `since` or later, or a little before by another process's clock. */
  async endedSince(sessionId: string, owner: string, since: Date): Promise<ChatMessage[]> {
    const finishedAt = { $gte: new Date(since.getTime() - clockSkewMs) };
    return await this.#em.fork().find(ChatMessage, { sessionId, owner, role: 'assistant', finishedAt }, { orderBy: { id: 'asc' }, limit: endedMax });
  }
}
