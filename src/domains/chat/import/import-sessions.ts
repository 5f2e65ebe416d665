import type { SqlEntityManager } from '@mikro-orm/sql';
import type { Clock } from '../../../shared/clock.ts';
import { AppError, validationFailed } from '../../../shared/errors.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import { jsonBoundsFault } from '../../../shared/json-bounds.ts';
import { mayUseDeployment, type Principal } from '../../../shared/principal.ts';
import type { Deployments } from '../../deployments/types.ts';
import { knownShape, messageBytesMax, systemPromptLengthMax, titleLengthMax } from '../chat.input.ts';
import { toStorable } from '../storable-text.ts';
import { deploymentsMax, type Chat } from '../types.ts';
import { deriveTitle, toSessionView } from '../views.ts';
import { isChatGpt, readChatGpt } from './chatgpt.ts';
import { inOrder, type Conversation } from './conversation.ts';
import { storeConversations, type StorableConversation } from './import.repository.ts';
import { isOpenWebUi, readOpenWebUi } from './open-webui.ts';
import { isOwnFormat, readOwnFormat } from './own-format.ts';

export type ImportDeps = { em: SqlEntityManager; deployments: Pick<Deployments, 'find'>; events: EventBus; clock: Clock };

/** Of one file. */
const contentBytesMax = 32 * 1024 * 1024;
const sessionsMax = 500;
const messagesMax = 20_000;
const modelIdPattern = /^[a-z][a-z0-9-]{0,30}:[\w./:@+-]{1,250}$/;

const formats = [
  { is: isOwnFormat, read: readOwnFormat },
  { is: isOpenWebUi, read: readOpenWebUi },
  { is: isChatGpt, read: readChatGpt },
];

export function createImport(deps: ImportDeps): Chat['import'] {
  return async (content, principal, signal) => {
    if (Buffer.byteLength(content) > contentBytesMax) throw new AppError('PAYLOAD_TOO_LARGE', `A file may have ${contentBytesMax} bytes.`, { details: { max_bytes: contentBytesMax } });
    const read = readConversations(content);
    const taken = read.filter(({ messages }) => messages.length > 0).slice(0, sessionsMax);
    const count = taken.reduce((sum, { messages }) => sum + messages.length, 0);
    if (count > messagesMax) throw validationFailed([{ field: 'content', message: `holds ${count} messages; one call takes ${messagesMax}` }]);
    const existing = await existingDeployments(taken, principal, deps.deployments);
    signal.throwIfAborted();
    const now = deps.clock.now();
    const storable = taken.map((conversation) => toStorableConversation(conversation, { principal, existing, now }));
    const sessions = await storeConversations(deps.em, storable, now);
    for (const { id } of sessions) deps.events.publish('chat.session_changed', id, { sessionId: id, messageId: null });
    return { sessions: sessions.map((session, index) => toSessionView(session, storable[index]?.messages.length ?? 0)), skippedCount: read.length - taken.length };
  };
}

function readConversations(content: string): Conversation[] {
  const fault = jsonBoundsFault(Buffer.from(content));
  if (fault !== null) throw validationFailed([{ field: 'content', message: fault }]);
  const value = parseJson(content);
  const format = formats.find(({ is }) => is(value));
  if (format) return format.read(value);
  throw validationFailed([{ field: 'content', message: 'is no export of this service, of Open WebUI or of ChatGPT' }]);
}

/** Ids of other machines mean nothing here, and those that the caller may not use are as good as missing. */
async function existingDeployments(conversations: readonly Conversation[], principal: Principal, deployments: ImportDeps['deployments']): Promise<ReadonlySet<string>> {
  const named = conversations.flatMap(({ deploymentIds, messages }) => [...deploymentIds, ...messages.flatMap(({ deploymentId }) => deploymentId ?? [])]);
  const ids = [...new Set(named.flatMap((id) => knownShape(id) ?? []))].filter((id) => mayUseDeployment(principal, id)).slice(0, 100);
  const found = await Promise.all(ids.map((id) => deployments.find(id)));
  return new Set(found.flatMap((deployment) => deployment?.id ?? []));
}

type Context = { principal: Principal; existing: ReadonlySet<string>; now: Date };

function toStorableConversation(conversation: Conversation, { principal, existing, now }: Context): StorableConversation {
  const messages = inOrder(conversation.messages).map((message) => ({
    ...message,
    content: storableContent(message.content),
    error: message.error && { ...message.error, message: toStorable(message.error.message) },
    deploymentId: message.deploymentId !== null && existing.has(message.deploymentId.toLowerCase()) ? message.deploymentId.toLowerCase() : null,
    modelId: message.modelId !== null && modelIdPattern.test(message.modelId) ? message.modelId : null,
    createdAt: message.createdAt ?? conversation.createdAt ?? now,
  }));
  const createdAt = conversation.createdAt ?? messages[0]?.createdAt ?? now;
  const title = toStorable(conversation.title).replaceAll(/\s+/g, ' ').trim().slice(0, titleLengthMax).toWellFormed();
  const session = {
    title: title === '' ? deriveTitle(messages.find(({ role }) => role === 'user')?.content ?? '') : title,
    owner: principal.owner,
    systemPrompt: conversation.systemPrompt ? toStorable(conversation.systemPrompt.slice(0, systemPromptLengthMax)) : null,
    parameters: conversation.parameters,
    deploymentIds: [...new Set(conversation.deploymentIds.map((id) => id.toLowerCase()))].filter((id) => existing.has(id)).slice(0, deploymentsMax),
    createdAt,
    updatedAt: now,
  };
  return { session, messages };
}

function storableContent(text: string): string {
  if (Buffer.byteLength(text) > messageBytesMax) throw validationFailed([{ field: 'content', message: `holds a message of more than ${messageBytesMax} bytes` }]);
  return toStorable(text);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // No format takes undefined.
    return undefined;
  }
}
