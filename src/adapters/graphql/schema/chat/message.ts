import type { ChatMessageView, ChatStreamEvent as StreamEvent, MessageUsage as Usage } from '../../../../domains/chat/types.ts';
import { isId } from '../../../../shared/ids.ts';
import { builder } from '../../builder.ts';
import { connectionOf } from '../../connection.ts';
import { principalOf } from '../../context.ts';
import type { ProjectedField } from '../../projection.ts';
import { Failure } from '../common.ts';
import { Deployment } from '../deployments/deployment.ts';
import { ChatStreamEventType, FinishReason, MessageRole, MessageStatus } from './enums.ts';
import { ChatParameters } from './parameters.ts';

const MessageUsage = builder.objectRef<Usage>('MessageUsage').implement({
  description: 'What an answer took.',
  fields: (t) => ({
    promptTokens: t.exposeInt('promptTokens', { nullable: true, description: 'Tokens that were read, if the engine told.' }),
    completionTokens: t.exposeInt('completionTokens', { description: 'Tokens that were written.' }),
    timeToFirstTokenMs: t.exposeFloat('timeToFirstTokenMs', { nullable: true, description: 'Time to the first one, in milliseconds.' }),
    tokensPerSecond: t.exposeFloat('tokensPerSecond', { nullable: true, description: 'Speed of writing, in tokens per second.' }),
    messagesLeftOut: t.exposeInt('messagesLeftOut', { nullable: true, description: 'Earlier messages that the model did not get, because its context had no room for them; null where it was asked elsewhere.' }),
  }),
});

export const ChatMessage = builder.objectRef<ChatMessageView>('ChatMessage');

builder.node(ChatMessage, {
  description: 'One message of a session.',
  id: { resolve: (message) => message.id },
  loadOne: (id, context) => (isId(id) ? context.services.chat.findMessage(id, principalOf(context)) : null),
  fields: (t) => ({
    messageId: t.exposeID('id', { description: 'Its plain UUID.' }),
    sessionId: t.exposeID('sessionId', { description: 'Plain UUID of its session.' }),
    parentId: t.exposeID('parentId', { nullable: true, description: 'Plain UUID of the message that it answers.' }),
    role: t.expose('role', { type: MessageRole, description: 'Who speaks.' }),
    content: t.exposeString('content', { description: 'The text, as far as it is written.' }),
    deploymentId: t.exposeID('deploymentId', { nullable: true, description: 'Plain UUID of the deployment that wrote it.' }),
    modelId: t.expose('modelId', { type: 'ModelId', nullable: true, description: 'The model that wrote it.' }),
    status: t.expose('status', { type: MessageStatus, description: 'Where it stands.' }),
    parameters: t.expose('parameters', { type: ChatParameters, description: 'How it was chosen.' }),
    usage: t.expose('usage', { type: MessageUsage, nullable: true, description: 'What it took, once it has ended.' }),
    finishReason: t.expose('finishReason', { type: FinishReason, nullable: true, description: 'Why it ended.' }),
    error: t.expose('error', { type: Failure, nullable: true, description: 'Why it failed.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was begun.' }),
    finishedAt: t.expose('finishedAt', { type: 'DateTime', nullable: true, description: 'When it ended.' }),
    deployment: t.loadable({
      type: Deployment,
      nullable: true,
      description: 'The deployment that wrote it, if it is still there.',
      load: async (ids: string[], { services }) => {
        const found = new Map((await services.deployments.findMany(ids)).map((deployment) => [deployment.id, deployment]));
        return ids.map((id) => found.get(id) ?? null);
      },
      resolve: (message) => message.deploymentId,
    }),
  }),
});

export const ChatMessageConnection = connectionOf('ChatMessage', ChatMessage, 'messages');

export const ChatStreamEvent = builder.objectRef<StreamEvent>('ChatStreamEvent').implement({
  description: 'News of one answer: its start, each piece of text in order, its end.',
  fields: (t) => ({
    type: t.expose('type', { type: ChatStreamEventType, description: 'What it tells.' }),
    messageId: t.exposeID('messageId', { description: 'Plain UUID of the answer.' }),
    deploymentId: t.exposeID('deploymentId', { nullable: true, description: 'Plain UUID of the deployment that writes it.' }),
    index: t.exposeInt('index', { description: 'Number of the piece, counted from 0; of the last one at the end. Send it as `after` to go on there.' }),
    text: t.string({ nullable: true, description: 'The piece of text, for `TOKEN`.', resolve: (event) => (event.type === 'token' ? event.text : null) }),
    status: t.field({ type: MessageStatus, nullable: true, description: 'How it ended, for `END`.', resolve: (event) => (event.type === 'end' ? event.status : null) }),
    usage: t.field({ type: MessageUsage, nullable: true, description: 'What it took, for `END`.', resolve: (event) => (event.type === 'end' ? event.usage : null) }),
    finishReason: t.field({ type: FinishReason, nullable: true, description: 'Why it ended, for `END`.', resolve: (event) => (event.type === 'end' ? event.finishReason : null) }),
    error: t.field({ type: Failure, nullable: true, description: 'Why it failed, for `END`.', resolve: (event) => (event.type === 'end' ? event.error : null) }),
  }),
});

type TokenEvent = Extract<StreamEvent, { type: 'token' }>;

/** Nearly all events of a stream, read off as the fields above would be. */
export const tokenProjection: ProjectedField = {
  field: 'chatStream',
  type: 'ChatStreamEvent',
  accepts: (event) => (event as StreamEvent).type === 'token',
  fields: {
    type: () => 'TOKEN',
    messageId: ({ messageId }: TokenEvent) => messageId,
    deploymentId: ({ deploymentId }: TokenEvent) => deploymentId,
    index: ({ index }: TokenEvent) => index,
    text: ({ text }: TokenEvent) => text,
    status: () => null,
    usage: () => null,
    finishReason: () => null,
    error: () => null,
  },
};
