import type { ChatMessageView } from '../../../../domains/chat/types.ts';
import type { Page } from '../../../../shared/paging.ts';

export type ChatTreeShape = {
  rootIds: readonly string[];
  nodes: readonly { message: ChatMessageView; depth: number; childIds: readonly string[] }[];
  complete: boolean;
};

/** Ten pages; whoever has longer sessions pages through the messages. */
const pagesMax = 10;

/** Messages come oldest first, so that every parent is known before its children. */
export function toTree(messages: readonly ChatMessageView[], complete: boolean): ChatTreeShape {
  const depths = new Map<string, number>();
  const children = new Map<string | null, string[]>();
  for (const message of messages) {
    const parentId = message.parentId !== null && depths.has(message.parentId) ? message.parentId : null;
    depths.set(message.id, parentId === null ? 0 : (depths.get(parentId) ?? 0) + 1);
    const siblings = children.get(parentId) ?? [];
    siblings.push(message.id);
    children.set(parentId, siblings);
  }
  const nodes = messages.map((message) => ({ message, depth: depths.get(message.id) ?? 0, childIds: children.get(message.id) ?? [] }));
  return { rootIds: children.get(null) ?? [], nodes, complete };
}

export async function readTree(read: (cursor: string | undefined) => Promise<Page<ChatMessageView>>): Promise<ChatTreeShape> {
  const messages: ChatMessageView[] = [];
  let cursor: string | undefined;
  for (let page = 0; page < pagesMax; page += 1) {
    const { items, nextCursor } = await read(cursor);
    messages.push(...items);
    if (nextCursor === null) return toTree(messages, true);
    cursor = nextCursor;
  }
  return toTree(messages, false);
}
