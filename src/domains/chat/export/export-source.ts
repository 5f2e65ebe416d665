import type { ChatMessage, ChatSession } from '../chat.entity.ts';

/** What a format is made from: messages come oldest first, once, and are not kept. */
export type ExportSource = { session: ChatSession; messages: AsyncIterable<ChatMessage>; exportedAt: Date };
