import type { StoredError } from '../../../shared/errors.ts';
import type { ChatParameters, FinishReason, MessageStatus, MessageUsage } from '../types.ts';

/** A conversation as a file tells it; keys are the file's own ids. */
export type Conversation = {
  title: string;
  systemPrompt: string | null;
  parameters: ChatParameters;
  deploymentIds: readonly string[];
  createdAt: Date | null;
  /** In any order; a parent that is not among them counts as none. */
  messages: readonly ConversationMessage[];
};

export type ConversationMessage = {
  key: string;
  parentKey: string | null;
  role: 'user' | 'assistant';
  content: string;
  deploymentId: string | null;
  modelId: string | null;
  status: Exclude<MessageStatus, 'streaming'>;
  parameters: ChatParameters;
  usage: MessageUsage | null;
  finishReason: FinishReason | null;
  error: StoredError | null;
  createdAt: Date | null;
  /** Null: as soon as it was begun. */
  finishedAt: Date | null;
};

/** What formats without our own figures say of a message. */
export const plainMessage = { deploymentId: null, modelId: null, status: 'completed', parameters: {}, usage: null, finishReason: null, error: null, finishedAt: null } as const;

/** Seconds since 1970 of a file; null for what is no sensible time. */
export function timeOf(seconds: number | null | undefined): Date | null {
  const date = new Date((seconds ?? Number.NaN) * 1000);
  return Number.isNaN(date.getTime()) || date.getTime() < 0 || date.getUTCFullYear() > 9999 ? null : date;
}

/** By time, each parent before what answers it, as our own ids order them; a circle of parents is cut. */
export function inOrder(messages: readonly ConversationMessage[]): ConversationMessage[] {
  const byKey = new Map(messages.map((message) => [message.key, message]));
  const sorted = [...messages].sort((a, b) => (a.createdAt?.getTime() ?? 0) - (b.createdAt?.getTime() ?? 0));
  const placed = new Set<string>();
  const ordered: ConversationMessage[] = [];
  for (const message of sorted) {
    const chain: ConversationMessage[] = [];
    const inChain = new Set<string>();
    for (let at: ConversationMessage | undefined = message; at && !placed.has(at.key) && !inChain.has(at.key); at = at.parentKey === null ? undefined : byKey.get(at.parentKey)) {
      chain.push(at);
      inChain.add(at.key);
    }
    for (const next of chain.reverse()) {
      placed.add(next.key);
      ordered.push(next);
    }
  }
  return ordered;
}
