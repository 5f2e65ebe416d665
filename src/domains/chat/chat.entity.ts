import { defineEntity, p } from '@mikro-orm/core';
import type { StoredError } from '../../shared/errors.ts';
import { messageStatuses, type ChatParameters, type FinishReason, type MessageUsage } from './types.ts';

const ChatSessionSchema = defineEntity({
  name: 'ChatSession',
  tableName: 'chat_sessions',
  indexes: [{ properties: ['owner', 'id'] }],
  properties: {
    id: p.uuid().primary(),
    title: p.text(),
    /** The key's owner, not the key: several keys of one person share the sessions. */
    owner: p.string(),
    systemPrompt: p.text().strictNullable(),
    parameters: p.json<ChatParameters>(),
    deploymentIds: p.json<readonly string[]>(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

export class ChatSession extends ChatSessionSchema.class {}
ChatSessionSchema.setClass(ChatSession);
/** As a plain object. */
export type SessionRow = Pick<ChatSession, keyof ChatSession>;

const ChatMessageSchema = defineEntity({
  name: 'ChatMessage',
  tableName: 'chat_messages',
  indexes: [{ properties: ['sessionId', 'id'] }, { properties: ['parentId'] }, { properties: ['status'] }],
  properties: {
    id: p.uuid().primary(),
    sessionId: p.uuid(),
    /** The session's, which never changes: so that ownership is part of every query on messages. */
    owner: p.string(),
    parentId: p.uuid().strictNullable(),
    role: p.enum(['system', 'user', 'assistant'] as const),
    content: p.text(),
    /**
     * Length of each piece of `content` in UTF-16 units, comma separated: what a reader's position means once the
     * live stream is gone. Lazy, because only a resuming reader needs it.
     */
    pieceLengths: p.text().lazy(),
    deploymentId: p.uuid().strictNullable(),
    modelId: p.string().strictNullable(),
    status: p.enum(messageStatuses),
    parameters: p.json<ChatParameters>(),
    usage: p.json<MessageUsage | null>().strictNullable(),
    finishReason: p.enum(['stop', 'length', 'stopped', 'error'] as const).strictNullable().$type<FinishReason | null>(),
    error: p.json<StoredError | null>().strictNullable(),
    /** The service process that generates it: after a crash its unfinished messages are known by this. */
    instanceId: p.uuid().strictNullable(),
    createdAt: p.datetime(),
    finishedAt: p.datetime().strictNullable(),
  },
});

export class ChatMessage extends ChatMessageSchema.class {}
ChatMessageSchema.setClass(ChatMessage);
export type MessageRow = Pick<ChatMessage, keyof ChatMessage>;
