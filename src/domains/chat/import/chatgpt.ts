import * as z from 'zod';
import { plainMessage, timeOf, type Conversation, type ConversationMessage } from './conversation.ts';
import { parseFile } from './parse-file.ts';

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
type Mapping = Readonly<Record<string, Node>>;

const conversation = z.object({ title: z.string().nullish(), create_time: z.number().nullish(), mapping: z.record(z.string(), node) });

export function isChatGpt(value: unknown): boolean {
  return conversation.safeParse(Array.isArray(value) ? value[0] : value).success;
}

/** `conversations.json` of ChatGPT's data export, or one entry of it. Tools, hidden messages and pictures are left out. */
export function readChatGpt(value: unknown): Conversation[] {
  return parseFile(z.array(conversation), Array.isArray(value) ? value : [value]).map(({ title, create_time: createdAt, mapping }) => ({
    title: title ?? '',
    systemPrompt: null,
    parameters: {},
    deploymentIds: [],
    createdAt: timeOf(createdAt),
    messages: toMessages(mapping),
  }));
}

function toMessages(mapping: Mapping): ConversationMessage[] {
  const nearest = nearestKept(mapping);
  return Object.entries(mapping).flatMap(([key, row]) => {
    const role = roleOf(row);
    if (!role) return [];
    return [{ ...plainMessage, key, parentKey: nearest(row.parent ?? null), role, content: textOf(row), createdAt: timeOf(row.message?.create_time) }];
  });
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

/**
 * Finds the nearest row that is taken over, from a row upwards. Every row is passed once, however long the chains of
 * what is left out are and however many rows hang below them.
 */
function nearestKept(mapping: Mapping): (from: string | null) => string | null {
  const found = new Map<string, string | null>();
  return (from) => {
    const passed: string[] = [];
    let key = from;
    while (key !== null && !found.has(key)) {
      const row = Object.hasOwn(mapping, key) ? mapping[key] : undefined;
      const isKept = row !== undefined && roleOf(row) !== null;
      // Nothing for now, so that a circle of parents ends here.
      found.set(key, isKept ? key : null);
      passed.push(key);
      if (!row || isKept) break;
      key = row.parent ?? null;
    }
    const kept = key === null ? null : (found.get(key) ?? null);
    for (const below of passed) found.set(below, kept);
    return kept;
  };
}
