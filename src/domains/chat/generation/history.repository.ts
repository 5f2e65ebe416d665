import type { SqlEntityManager } from '@mikro-orm/sql';
import { marksOf, readRow } from '../../../shared/persistence/read-rows.repository.ts';
import { runStatement } from '../../../shared/persistence/run-statement.repository.ts';
import { ChatSession } from '../chat.entity.ts';
import { chooseWindow, type BranchEntry } from './context-window.ts';

/** A turn in OpenAI's shape. */
export type PromptMessage = { role: 'system' | 'user' | 'assistant'; content: string };

export type HistoryRequest = {
  sessionId: string;
  questionId: string;
  contextSize: number | null;
  maxTokens: number | undefined;
  share: number;
};

export type History = {
  messages: PromptMessage[];
  /** Earlier messages of the branch that are not among them. */
  leftOut: number;
  /** Older turns that could still be left out. */
  canShrink: boolean;
};

/** Far above what any context holds; a branch is walked in the database, so its length costs no memory here. */
const branchLengthMax = 2_000;
const promptBytesMax = 4 * 1024 * 1024;

/** What an engine is told: the branch from the session's first message to the question. */
export class HistoryRepository {
  readonly #em: SqlEntityManager;

  constructor(em: SqlEntityManager) {
    this.#em = em;
  }

  /** Null when the session or the question is gone. */
  async load({ sessionId, questionId, contextSize, maxTokens, share }: HistoryRequest): Promise<History | null> {
    const [session, entries] = await Promise.all([readRow(this.#em, ChatSession, [['id = ?', sessionId]]), this.#branch(sessionId, questionId)]);
    if (!session || entries.length === 0) return null;
    const systemPrompt = session.systemPrompt ?? '';
    const systemPromptBytes = Buffer.byteLength(systemPrompt);
    const ids = chooseWindow({ entries, systemPromptBytes, contextSize, maxTokens, share, bytesMax: promptBytesMax });
    const rows = await this.#em.execute<(PromptMessage & { id: string })[]>(`select id, role, content from chat_messages where id in (${marksOf(ids)})`, ids);
    const byId = new Map(rows.map((row) => [row.id, row]));
    const turns = ids.flatMap((id) => byId.get(id) ?? []);
    return { messages: toPrompt(systemPrompt, turns), leftOut: entries.length - ids.length, canShrink: ids.length > 1 };
  }

  /** From the question up to the first message; only sizes, because most of a long branch is not sent. */
  async #branch(sessionId: string, questionId: string): Promise<BranchEntry[]> {
    const { rows } = await runStatement(this.#em, {
      text: `with recursive branch as (
         select id, parent_id, role, octet_length(content) as bytes, 1 as depth
         from chat_messages where id = ? and session_id = ?
         union all
         select m.id, m.parent_id, m.role, octet_length(m.content), b.depth + 1
         from branch b join chat_messages m on m.id = b.parent_id and m.session_id = ? where b.depth < ?
       ) select id, role, bytes from branch order by depth`,
      values: [questionId, sessionId, sessionId, branchLengthMax],
    });
    // By the columns that are selected.
    return rows as BranchEntry[];
  }
}

/** Of a session's first message, which has nothing before it. */
export function historyOf({ systemPrompt, question }: { systemPrompt: string | null; question: string }): History {
  return { messages: toPrompt(systemPrompt ?? '', [{ role: 'user', content: question }]), leftOut: 0, canShrink: false };
}

/**
 * Answers without text are left out, and neighbours of one role become one message: many chat templates refuse
 * anything but strict alternation.
 */
export function toPrompt(systemPrompt: string, turns: readonly PromptMessage[]): PromptMessage[] {
  const prompt: PromptMessage[] = systemPrompt.trim() === '' ? [] : [{ role: 'system', content: systemPrompt }];
  for (const { role, content } of turns) {
    if (content === '') continue;
    const last = prompt.at(-1);
    if (last?.role === role) last.content += `\n\n${content}`;
    else prompt.push({ role, content });
  }
  return prompt;
}
