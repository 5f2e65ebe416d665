import type { SqlEntityManager } from '@mikro-orm/sql';
import { newId } from '../../../shared/ids.ts';
import { StateEvent } from '../../../shared/persistence/state-event.entity.ts';
import { ChatMessage, ChatSession } from '../chat.entity.ts';
import { chatMessageMachine } from '../chat-message.machine.ts';
import type { ConversationMessage } from './conversation.ts';

/** A conversation whose texts can be stored, its messages in order. */
export type StorableConversation = {
  session: Omit<ChatSession, 'id'>;
  messages: readonly (ConversationMessage & { createdAt: Date })[];
};

const rowsAtOnce = 200;

/** Stores all of them or none; answers the new sessions in the given order. */
export async function storeConversations(em: SqlEntityManager, conversations: readonly StorableConversation[], at: Date): Promise<ChatSession[]> {
  return await em.fork().transactional(async (tx) => {
    const sessions: ChatSession[] = [];
    for (const { session, messages } of conversations) {
      const row = { ...session, id: newId() };
      await tx.insert(ChatSession, row);
      sessions.push(Object.assign(new ChatSession(), row));
      await insertMessages(tx, { sessionId: row.id, owner: row.owner, messages, at });
    }
    return sessions;
  });
}

type MessageRows = { sessionId: string; owner: string; messages: StorableConversation['messages']; at: Date };

async function insertMessages(tx: SqlEntityManager, { sessionId, owner, messages, at }: MessageRows): Promise<void> {
  const ids = new Map<string, string>();
  const rows = messages.map(({ key, parentKey, ...message }) => {
    const id = newId();
    // Before its own id is known: a message that names itself has no parent.
    const parentId = parentKey === null ? null : (ids.get(parentKey) ?? null);
    ids.set(key, id);
    return { ...message, id, sessionId, owner, parentId, pieceLengths: '', instanceId: null, finishedAt: message.finishedAt ?? message.createdAt };
  });
  for (let start = 0; start < rows.length; start += rowsAtOnce) {
    const part = rows.slice(start, start + rowsAtOnce);
    await tx.insertMany(ChatMessage, part);
    const answers = part.filter(({ role }) => role === 'assistant');
    if (answers.length === 0) continue;
    await tx.insertMany(StateEvent, answers.map(({ id, status }) => ({ kind: chatMessageMachine.name, subjectId: id, fromState: null, toState: status, reason: 'imported', at })));
  }
}
