import { builder } from '../../builder.ts';
import { pageArgs, pageCost, toConnection, toPageRequest } from '../../connection.ts';
import { principalOf } from '../../context.ts';
import { toUuid } from '../../ids.ts';
import { openStream } from '../../stream.ts';
import { textMax, trimmedText, wholeNumber } from '../validation.ts';
import { ChatMessage, ChatStreamEvent } from './message.ts';
import { ChatSession, ChatSessionConnection } from './session.ts';
import type { Chat } from '../../../../domains/chat/types.ts';

const role = 'VIEWER';
const indexMax = 2_147_483_647;

type SessionNews = Chat extends { watchSession(...args: never[]): AsyncIterable<infer News> } ? News : never;

const ChatSessionUpdate = builder.objectRef<SessionNews>('ChatSessionUpdate').implement({
  description: 'News of a session.',
  fields: (t) => ({
    session: t.expose('session', { type: ChatSession, description: 'As it is now.' }),
    message: t.expose('message', { type: ChatMessage, nullable: true, description: 'The message that was added or ended; null when the session itself changed.' }),
  }),
});

builder.queryField('chatSessions', (t) =>
  t.field({
    type: ChatSessionConnection,
    authScopes: { role },
    complexity: pageCost,
    description: "The caller's own sessions, newest first.",
    args: { ...pageArgs, search: t.arg.string({ description: 'Only sessions with this text in them.', validate: trimmedText(textMax.query) }) },
    resolve: async (_root, args, context, info) => {
      const filter = args.search ? { search: args.search } : {};
      return toConnection(await context.services.chat.listSessions(filter, toPageRequest(args, info), principalOf(context)), args);
    },
  }),
);

builder.queryField('chatSession', (t) =>
  t.field({
    type: ChatSession,
    nullable: true,
    authScopes: { role },
    description: "One of the caller's own sessions.",
    args: { id: t.arg.id({ required: true, description: 'Plain UUID or global id.' }) },
    resolve: (_root, { id }, context) => context.services.chat.getSession(toUuid('ChatSession', id), principalOf(context)),
  }),
);

builder.subscriptionField('chatStream', (t) =>
  t.field({
    type: ChatStreamEvent,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'Every piece of an answer in order, from the start or after the one that the reader has; none is lost or doubled.',
    args: {
      messageId: t.arg.id({ required: true, description: 'The answer: plain UUID or global id.' }),
      after: t.arg.int({ description: 'Index of the last piece that the reader has; default: none.', validate: wholeNumber(-1, indexMax) }),
    },
    subscribe: (_root, { messageId, after }, context) => {
      const id = toUuid('ChatMessage', messageId);
      const principal = principalOf(context);
      return context.services.chat.stream(id, after ?? -1, principal, context.signal);
    },
    resolve: (event) => event,
  }),
);

builder.subscriptionField('chatSessionUpdated', (t) =>
  t.field({
    type: ChatSessionUpdate,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'Messages of a session that are added or end.',
    args: { id: t.arg.id({ required: true, description: 'The session: plain UUID or global id.' }) },
    subscribe: async (_root, { id }, context) => {
      const uuid = toUuid('ChatSession', id);
      const principal = principalOf(context);
      await context.services.chat.getSession(uuid, principal);
      return await openStream((signal) => context.services.chat.watchSession(uuid, principal, signal), { signal: context.signal, startsAtOnce: false });
    },
    resolve: (news) => news,
  }),
);
