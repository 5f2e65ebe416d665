import * as z from 'zod';
import { plainMessage, timeOf, type Conversation, type ConversationMessage } from './conversation.ts';

const node = z.object({
  parent: z.string().nullish(),
  message: z
    .object({
      author: z.object({ role: z.string() }),
      create_time: z.number().nullish(),
      content: z.object({ content_type: z.string().nullish(), parts: z.array(z.unknown()).nullish(), text: z.string().nullish() }),
      metadata: z.object({ is_visually_hidden_from_conversation: z.boolean().nullish() }).nullish(),
    })
    .nullish(),
});
type Node = z.infer<typeof node>;

const conversation = z.object({ title: z.string().nullish(), create_time: z.number().nullish(), mapping: z.record(z.string(), node) });

export function isChatGpt(value: unknown): boolean {
  return conversation.safeParse(Array.isArray(value) ? value[0] : value).success;
}

/** `conversations.json` of ChatGPT's data export, or one entry of it. Tools, hidden messages and pictures are left out. */
export function readChatGpt(value: unknown): Conversation[] {
  return z
    .array(conversation)
    .parse(Array.isArray(value) ? value : [value])
    .map(({ title, create_time: createdAt, mapping }) => ({
      title: title ?? '',
      systemPrompt: null,
      parameters: {},
      deploymentIds: [],
      createdAt: timeOf(createdAt),
      messages: Object.entries(mapping).flatMap(([key, row]) => toMessage(key, row, mapping)),
    }));
}

function toMessage(key: string, row: Node, mapping: Readonly<Record<string, Node>>): ConversationMessage[] {
  const role = roleOf(row);
  if (!role) return [];
  return [{ ...plainMessage, key, parentKey: keptParentOf(row, mapping), role, content: textOf(row), createdAt: timeOf(row.message?.create_time) }];
}

/** Null for what is not shown as part of the conversation. */
function roleOf(row: Node): 'user' | 'assistant' | null {
  const role = row.message?.author.role;
  if (role !== 'user' && role !== 'assistant') return null;
  return row.message?.metadata?.is_visually_hidden_from_conversation || textOf(row) === '' ? null : role;
}

function textOf({ message }: Node): string {
  if (!message) return '';
  const parts = message.content.parts?.filter((part) => typeof part === 'string') ?? [];
  return parts.length > 0 ? parts.join('\n') : message.content.content_type === 'text' ? (message.content.text ?? '') : '';
}

/** The nearest one above that is taken over. */
function keptParentOf(row: Node, mapping: Readonly<Record<string, Node>>): string | null {
  const seen = new Set<string>();
  let key = row.parent ?? null;
  while (key !== null && !seen.has(key)) {
    seen.add(key);
    const parent = Object.hasOwn(mapping, key) ? mapping[key] : undefined;
    if (!parent) return null;
    if (roleOf(parent)) return key;
    key = parent.parent ?? null;
  }
  return null;
}
