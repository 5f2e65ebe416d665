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
    systemPrompt: p.text().nullable(),
    parameters: p.json<ChatParameters>(),
    deploymentIds: p.json<readonly string[]>(),
    createdAt: p.datetime(),
    updatedAt: p.datetime(),
  },
});

export class ChatSession extends ChatSessionSchema.class {}
ChatSessionSchema.setClass(ChatSession);

const ChatMessageSchema = defineEntity({
  name: 'ChatMessage',
  tableName: 'chat_messages',
  indexes: [{ properties: ['sessionId', 'id'] }, { properties: ['parentId'] }, { properties: ['status'] }],
  properties: {
    id: p.uuid().primary(),
    sessionId: p.uuid(),
    parentId: p.uuid().nullable(),
    role: p.enum(['system', 'user', 'assistant'] as const),
    content: p.text(),
    deploymentId: p.uuid().nullable(),
    modelId: p.string().nullable(),
    status: p.enum(messageStatuses),
    parameters: p.json<ChatParameters>(),
    usage: p.json<MessageUsage | null>().nullable(),
    finishReason: p.enum(['stop', 'length', 'stopped', 'error'] as const).nullable().$type<FinishReason | null>(),
    error: p.json<StoredError | null>().nullable(),
    /** The service process that generates it: after a crash its unfinished messages are known by this. */
    instanceId: p.uuid().nullable(),
    createdAt: p.datetime(),
    finishedAt: p.datetime().nullable(),
  },
});

export class ChatMessage extends ChatMessageSchema.class {}
ChatMessageSchema.setClass(ChatMessage);
