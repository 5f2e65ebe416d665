import type { ChatMessage, ChatSession } from '../chat.entity.ts';

/** What a format is made from. */
export type ExportSource = {
  session: ChatSession;
  /** Oldest first, read from the database as it goes; each call reads them anew. */
  messages: () => AsyncIterable<ChatMessage>;
  /** Some of them, in any order. */
  findMany: (ids: readonly string[]) => Promise<readonly ChatMessage[]>;
  exportedAt: Date;
};
