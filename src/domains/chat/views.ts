import type { MessageRow } from './chat.entity.ts';
import type { ChatMessageView, ChatSessionView } from './types.ts';

const untitled = 'New chat';
const derivedTitleLengthMax = 80;

export function toMessageView(row: MessageRow): ChatMessageView {
  const { id, sessionId, parentId, role, content, deploymentId, modelId, status, parameters, usage, finishReason, error, createdAt, finishedAt } = row;
  return { id, sessionId, parentId, role, content, deploymentId, modelId, status, parameters, usage, finishReason, error, createdAt, finishedAt };
}

export function toSessionView(row: Omit<ChatSessionView, 'messageCount'>, messageCount: number): ChatSessionView {
  const { id, owner, systemPrompt, parameters, deploymentIds, createdAt, updatedAt } = row;
  return { id, title: row.title || untitled, owner, systemPrompt, parameters, deploymentIds, messageCount, createdAt, updatedAt };
}

/** From a session's first message, for sessions that were given no title. */
export function deriveTitle(message: string): string {
  const line = message.replaceAll(/\s+/g, ' ').trim();
  if (line.length <= derivedTitleLengthMax) return line;
  // A cut may fall between the halves of an emoji.
  const cut = line.slice(0, derivedTitleLengthMax - 1).toWellFormed().replace(/\ufffd$/, '');
  const lastSpace = cut.lastIndexOf(' ');
  return `${lastSpace > derivedTitleLengthMax / 2 ? cut.slice(0, lastSpace) : cut}…`;
}
