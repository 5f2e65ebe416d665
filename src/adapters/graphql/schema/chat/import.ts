import { z } from 'zod';
import type { ImportedSessions } from '../../../../domains/chat/types.ts';
import { builder } from '../../builder.ts';
import { principalOf } from '../../context.ts';
import { resultOf } from '../mutation.ts';
import { InvalidStateError, outcomeOf } from '../user-error.ts';
import { ChatSession } from './session.ts';

const ImportChatSessionInput = builder.inputType('ImportChatSessionInput', {
  description: 'What to import.',
  fields: (t) => ({
    content: t.string({
      required: true,
      description: "The text of a JSON file: `exportChatSession`'s, Open WebUI's list of chats, or ChatGPT's conversations.json. Up to 32 MiB over HTTP, 1 MiB over WebSocket; cut longer lists.",
      validate: z.string().min(1, 'must not be empty'),
    }),
  }),
});

const ImportedChatSessions = builder.objectRef<ImportedSessions>('ImportChatSessionPayload').implement({
  description: 'What `importChatSession` answers.',
  fields: (t) => ({
    sessions: t.field({ type: [ChatSession], description: "The new sessions, in the file's order.", resolve: ({ sessions }) => [...sessions] }),
    skippedCount: t.exposeInt('skippedCount', { description: 'Conversations without messages, or beyond the most that one call takes.' }),
  }),
});

builder.mutationField('importChatSession', (t) =>
  t.field({
    type: ImportedChatSessions,
    authScopes: { role: 'USER' },
    description: "Stores the conversations of a file as new sessions of the caller, all or none. Branches, figures and times come along; deployments only if they exist here.",
    args: { input: t.arg({ type: ImportChatSessionInput, required: true, description: 'The file.' }) },
    errors: resultOf('ImportChatSession', [InvalidStateError]),
    resolve: (_root, { input }, context) => outcomeOf(() => context.services.chat.import(input.content, principalOf(context), context.signal)),
  }),
);
