import { createContextCache } from '@pothos/core';
import DataLoader from 'dataloader';
import type { ChatMessageView, ChatSessionView } from '../../../../domains/chat/types.ts';
import { isId } from '../../../../shared/ids.ts';
import { pageLimits, type Page } from '../../../../shared/paging.ts';
import { builder } from '../../builder.ts';
import { connectionOf, pageArgs, pageCost, toConnection, toPageRequest } from '../../connection.ts';
import { principalOf, type GraphqlContext } from '../../context.ts';
import { Deployment } from '../deployments/deployment.ts';
import { readTree, type ChatTreeShape } from './tree.ts';
import { ChatMessage, ChatMessageConnection } from './message.ts';
import { ChatParameters } from './parameters.ts';

/** A tree is read page by page, so it weighs as much as a few pages. */
const treeMultiplier = 200;

type FirstPage = { sessionId: string; limit: number };

/** The first pages of many sessions in one query for each page size. */
const firstMessagesLoader = createContextCache(
  (context: GraphqlContext) =>
    new DataLoader<FirstPage, Page<ChatMessageView>, string>(
      async (keys) => {
        const limits = [...new Set(keys.map((key) => key.limit))];
        const ask = async (limit: number) => {
          const ids = keys.filter((key) => key.limit === limit).map((key) => key.sessionId);
          return [limit, await context.services.chat.firstMessages(ids, limit, principalOf(context))] as const;
        };
        const byLimit = new Map(await Promise.all(limits.map(ask)));
        return keys.map(({ sessionId, limit }) => byLimit.get(limit)?.get(sessionId) ?? { items: [], nextCursor: null, total: 0 });
      },
      { cacheKeyFn: ({ sessionId, limit }) => `${sessionId}:${limit}` },
    ),
);

const ChatTreeNode = builder.objectRef<ChatTreeShape['nodes'][number]>('ChatTreeNode').implement({
  description: 'One message in its place in the tree.',
  fields: (t) => ({
    message: t.expose('message', { type: ChatMessage, description: 'The message.' }),
    depth: t.exposeInt('depth', { description: 'Steps from the root, counted from 0.' }),
    childIds: t.idList({ description: 'Plain UUIDs of the messages that answer it, oldest first.', resolve: (node) => [...node.childIds] }),
  }),
});

const ChatTree = builder.objectRef<ChatTreeShape>('ChatTree').implement({
  description: 'A session with its branches: further answers and edited messages stand beside each other.',
  fields: (t) => ({
    rootIds: t.idList({ description: 'Plain UUIDs of the messages that answer none, oldest first.', resolve: (tree) => [...tree.rootIds] }),
    nodes: t.field({ type: [ChatTreeNode], complexity: { field: 1, multiplier: 1 }, description: 'Every message, each before what answers it.', resolve: (tree) => [...tree.nodes] }),
    complete: t.exposeBoolean('complete', { description: 'False when the session has more messages than a tree shows; page through `messages` then.' }),
  }),
});

export const ChatSession = builder.objectRef<ChatSessionView>('ChatSession');

builder.node(ChatSession, {
  description: 'A talk with one or several deployments. It belongs to the owner of the key that made it; for others it does not exist.',
  id: { resolve: (session) => session.id },
  loadOne: (id, context) => (isId(id) ? context.services.chat.findSession(id, principalOf(context)) : null),
  fields: (t) => ({
    sessionId: t.exposeID('id', { description: 'Its plain UUID.' }),
    title: t.exposeString('title', { description: 'Its title.' }),
    owner: t.exposeString('owner', { description: 'Whom it belongs to.' }),
    systemPrompt: t.exposeString('systemPrompt', { nullable: true, description: 'Instructions for the models.' }),
    parameters: t.expose('parameters', { type: ChatParameters, description: 'How answers are chosen unless a message says otherwise.' }),
    deploymentIds: t.idList({ description: 'Plain UUIDs of the deployments that answer.', resolve: (session) => [...session.deploymentIds] }),
    messageCount: t.exposeInt('messageCount', { description: 'Number of its messages.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was made.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', description: 'When something last happened in it.' }),
    messages: t.field({
      type: ChatMessageConnection,
      nullable: true,
      complexity: pageCost,
      description: 'Its messages, oldest first.',
      args: pageArgs,
      resolve: async (session, args, context) => {
        const request = toPageRequest(args);
        const page =
          request.cursor === undefined
            ? await firstMessagesLoader(context).load({ sessionId: session.id, limit: request.limit })
            : await context.services.chat.messages(session.id, request, principalOf(context));
        return toConnection(page, args);
      },
    }),
    tree: t.field({
      type: ChatTree,
      nullable: true,
      complexity: { field: 1, multiplier: treeMultiplier },
      description: 'Its messages as a tree.',
      resolve: (session, _args, context) => {
        const read = (cursor: string | undefined) => context.services.chat.messages(session.id, { limit: pageLimits.max, cursor }, principalOf(context));
        return readTree(read);
      },
    }),
    deployments: t.loadableList({
      type: Deployment,
      description: 'The deployments that answer, those that are still there.',
      load: async (lists: string[], { services }) => {
        const idLists = lists.map((list) => (list === '' ? [] : list.split(',')));
        const found = new Map((await services.deployments.findMany([...new Set(idLists.flat())])).map((deployment) => [deployment.id, deployment]));
        return idLists.map((ids) => ids.flatMap((id) => found.get(id) ?? []));
      },
      resolve: (session) => session.deploymentIds.join(','),
    }),
  }),
});

export const ChatSessionConnection = connectionOf('ChatSession', ChatSession, 'chat sessions');
