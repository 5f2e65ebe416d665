import * as z from 'zod';
import { plainMessage, timeOf, type Conversation } from './conversation.ts';
import { parseFile } from './parse-file.ts';

const message = z.object({
  parentId: z.string().nullish(),
  role: z.string(),
  content: z.string().nullish(),
  timestamp: z.number().nullish(),
  done: z.boolean().nullish(),
});

const entry = z.object({
  title: z.string().nullish(),
  chat: z.object({
    title: z.string().nullish(),
    system: z.string().nullish(),
    params: z.object({ system: z.string().nullish() }).nullish(),
    timestamp: z.number().nullish(),
    history: z.object({ messages: z.record(z.string(), message) }),
  }),
});

export function isOpenWebUi(value: unknown): boolean {
  return entry.safeParse(Array.isArray(value) ? value[0] : value).success;
}

/** The list that Open WebUI's "Export chats" writes, or one of its entries. Models are known there by other names, so none is taken over. */
export function readOpenWebUi(value: unknown): Conversation[] {
  return parseFile(z.array(entry), Array.isArray(value) ? value : [value]).map(({ title, chat }) => ({
    title: title ?? chat.title ?? '',
    systemPrompt: chat.system ?? chat.params?.system ?? null,
    parameters: {},
    deploymentIds: [],
    // In milliseconds here, in seconds for messages.
    createdAt: timeOf((chat.timestamp ?? Number.NaN) / 1000),
    messages: Object.entries(chat.history.messages).flatMap(([key, row]) => {
      const { role, content } = row;
      if (role !== 'user' && role !== 'assistant') return [];
      const status = role === 'assistant' && row.done === false ? 'interrupted' : 'completed';
      return [{ ...plainMessage, key, parentKey: row.parentId ?? null, role, content: content ?? '', status, createdAt: timeOf(row.timestamp) }];
    }),
  }));
}
