import { z } from 'zod';
import { deploymentsMax, type ChatSessionView, type CreateSession, type SendMessage, type SentMessage } from '../../../../domains/chat/types.ts';
import { AppError } from '../../../../shared/errors.ts';
import { builder } from '../../builder.ts';
import { principalOf, type GraphqlContext } from '../../context.ts';
import { toUuid } from '../../ids.ts';
import { payloadOf, resultOf } from '../mutation.ts';
import { ConflictError, InvalidStateError, NotFoundError, outcomeOf, UnavailableError } from '../user-error.ts';
import { messageText, nameText, textMax, trimmedText } from '../validation.ts';
import { ExportFormat } from './enums.ts';
import { ChatMessage } from './message.ts';
import { ChatParametersInput, toParameters } from './parameters.ts';
import { ChatSession } from './session.ts';

const role = 'USER';
/** An export travels as one text of the answer. */
const exportBytesMax = 32 * 1024 * 1024;

const deploymentIdsRule = z.array(z.string()).max(deploymentsMax, `must not name more than ${deploymentsMax} deployments`).nullish();
const messageIdField = { required: true, description: 'The message: plain UUID or global id.' } as const;
const sessionIdField = { required: true, description: 'The session: plain UUID or global id.' } as const;

const CreateChatSessionInput = builder.inputType('CreateChatSessionInput', {
  description: 'The new session.',
  fields: (t) => ({
    title: t.string({ description: 'Its title; default: made from the first message.', validate: nameText(textMax.name) }),
    deploymentIds: t.idList({ description: `The deployments that answer, at most ${deploymentsMax} (plain UUIDs or global ids).`, validate: deploymentIdsRule }),
    systemPrompt: t.string({ description: 'Instructions for the models.', validate: trimmedText(textMax.systemPrompt) }),
    parameters: t.field({ type: ChatParametersInput, description: 'How answers are chosen.' }),
  }),
});
const UpdateChatSessionInput = builder.inputType('UpdateChatSessionInput', {
  description: 'What to change about a session; what is left out stays.',
  fields: (t) => ({
    sessionId: t.id(sessionIdField),
    title: t.string({ description: 'Its new title.', validate: nameText(textMax.name) }),
    deploymentIds: t.idList({ description: `The deployments that answer from now on, at most ${deploymentsMax}.`, validate: deploymentIdsRule }),
    systemPrompt: t.string({ description: 'New instructions for the models.', validate: trimmedText(textMax.systemPrompt) }),
    parameters: t.field({ type: ChatParametersInput, description: 'How answers are chosen from now on.' }),
  }),
});
const DeleteChatSessionInput = builder.inputType('DeleteChatSessionInput', { description: 'Which session to remove.', fields: (t) => ({ sessionId: t.id(sessionIdField) }) });
const SendChatMessageInput = builder.inputType('SendChatMessageInput', {
  description: 'What to say, and to whom.',
  fields: (t) => ({
    sessionId: t.id({ description: 'The session (plain UUID or global id); without it a new one is made.' }),
    deploymentIds: t.idList({ description: `Who answers, at most ${deploymentsMax}; default: the deployments of the session.`, validate: deploymentIdsRule }),
    message: t.string({ required: true, description: 'The text.', validate: messageText(textMax.message) }),
    parameters: t.field({ type: ChatParametersInput, description: 'How the answers are chosen.' }),
    parentId: t.id({ description: 'Say it below this message; default: the newest.' }),
    waitForAnswers: t.boolean({ required: true, defaultValue: false, description: 'Answer only when all answers have ended. A caller who goes away does not end them.' }),
    idempotencyKey: t.string({ description: 'The same key again answers with the first result.', validate: nameText(textMax.idempotencyKey) }),
  }),
});
const RegenerateChatMessageInput = builder.inputType('RegenerateChatMessageInput', {
  description: 'Which answer to write again.',
  fields: (t) => ({ messageId: t.id(messageIdField), parameters: t.field({ type: ChatParametersInput, description: 'How it is chosen this time.' }) }),
});
const EditChatMessageInput = builder.inputType('EditChatMessageInput', {
  description: 'Which message of a person to say in other words.',
  fields: (t) => ({ messageId: t.id(messageIdField), message: t.string({ required: true, description: 'The new text.', validate: messageText(textMax.message) }) }),
});
const StopChatMessageInput = builder.inputType('StopChatMessageInput', { description: 'Which answer to end.', fields: (t) => ({ messageId: t.id(messageIdField) }) });
const ExportChatSessionInput = builder.inputType('ExportChatSessionInput', {
  description: 'Which session to export.',
  fields: (t) => ({ sessionId: t.id(sessionIdField), format: t.field({ type: ExportFormat, required: true, description: 'In which form.' }) }),
});

type SentShape = { session: ChatSessionView; userMessage: SentMessage['userMessage']; answers: SentMessage['answers'] };

function sentPayload(mutation: string, field: string) {
  return builder.objectRef<SentShape>(`${mutation}Payload`).implement({
    description: `What \`${field}\` answers.`,
    fields: (t) => ({
      session: t.expose('session', { type: ChatSession, description: 'The session.' }),
      userMessage: t.expose('userMessage', { type: ChatMessage, description: 'What the person said.' }),
      answers: t.field({ type: [ChatMessage], description: 'One answer for each deployment; follow each with `chatStream`.', resolve: (sent) => [...sent.answers] }),
    }),
  });
}

const ExportedSession = builder.objectRef<{ fileName: string; contentType: string; content: string }>('ExportChatSessionPayload').implement({
  description: 'What `exportChatSession` answers.',
  fields: (t) => ({
    fileName: t.exposeString('fileName', { description: 'Name for the file.' }),
    contentType: t.exposeString('contentType', { description: 'Media type of the file.' }),
    content: t.exposeString('content', { description: 'What is in the file.' }),
  }),
});

const DeletedSession = builder.objectRef<{ sessionId: string }>('DeleteChatSessionPayload').implement({
  description: 'What `deleteChatSession` answers.',
  fields: (t) => ({ sessionId: t.exposeID('sessionId', { description: 'Plain UUID of the session that is gone.' }) }),
});

type SessionFields = Pick<typeof CreateChatSessionInput.$inferInput, 'title' | 'deploymentIds' | 'systemPrompt' | 'parameters'>;

function toSessionFields(input: SessionFields): CreateSession {
  return {
    ...(input.title ? { title: input.title } : {}),
    ...(input.deploymentIds ? { deploymentIds: input.deploymentIds.map((id) => toUuid('Deployment', id)) } : {}),
    ...(typeof input.systemPrompt === 'string' ? { systemPrompt: input.systemPrompt } : {}),
    ...(input.parameters ? { parameters: toParameters(input.parameters) } : {}),
  };
}

function toSendMessage(input: typeof SendChatMessageInput.$inferInput): SendMessage {
  return {
    message: input.message,
    ...(input.sessionId ? { sessionId: toUuid('ChatSession', input.sessionId) } : {}),
    ...(input.deploymentIds ? { deploymentIds: input.deploymentIds.map((id) => toUuid('Deployment', id)) } : {}),
    ...(input.parameters ? { parameters: toParameters(input.parameters) } : {}),
    ...(input.parentId ? { parentId: toUuid('ChatMessage', input.parentId) } : {}),
    ...(input.idempotencyKey ? { idempotencyKey: input.idempotencyKey } : {}),
  };
}

async function send(input: typeof SendChatMessageInput.$inferInput, context: GraphqlContext): Promise<SentShape> {
  const { chat } = context.services;
  const principal = principalOf(context);
  const sent = await chat.send(toSendMessage(input), principal, context.signal);
  if (!input.waitForAnswers) return sent;
  return { ...sent, answers: await Promise.all(sent.answers.map((answer) => chat.waitForEnd(answer.id, principal, context.signal))) };
}

async function collect(chunks: AsyncIterable<string>): Promise<string> {
  const parts: string[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += Buffer.byteLength(chunk);
    if (bytes > exportBytesMax) throw new AppError('PAYLOAD_TOO_LARGE', 'The session is too long to be exported in one answer.', { details: { max_bytes: exportBytesMax } });
    parts.push(chunk);
  }
  return parts.join('');
}

const sendErrors = [NotFoundError, InvalidStateError, ConflictError, UnavailableError];

builder.mutationField('createChatSession', (t) =>
  t.field({
    type: payloadOf('CreateChatSession', 'session', ChatSession),
    authScopes: { role },
    description: 'Begins a session.',
    args: { input: t.arg({ type: CreateChatSessionInput, required: true, description: 'The new session.' }) },
    errors: resultOf('CreateChatSession', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => ({ session: await context.services.chat.createSession(toSessionFields(input), principalOf(context), context.signal) })),
  }),
);

builder.mutationField('updateChatSession', (t) =>
  t.field({
    type: payloadOf('UpdateChatSession', 'session', ChatSession),
    authScopes: { role },
    description: 'Changes a session.',
    args: { input: t.arg({ type: UpdateChatSessionInput, required: true, description: 'What to change.' }) },
    errors: resultOf('UpdateChatSession', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => ({ session: await context.services.chat.updateSession(toUuid('ChatSession', input.sessionId), toSessionFields(input), principalOf(context)) })),
  }),
);

builder.mutationField('deleteChatSession', (t) =>
  t.field({
    type: DeletedSession,
    authScopes: { role },
    description: 'Removes a session; unfinished answers are stopped first.',
    args: { input: t.arg({ type: DeleteChatSessionInput, required: true, description: 'Which one.' }) },
    errors: resultOf('DeleteChatSession', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => {
        const sessionId = toUuid('ChatSession', input.sessionId);
        await context.services.chat.deleteSession(sessionId, principalOf(context), context.signal);
        return { sessionId };
      }),
  }),
);

builder.mutationField('sendChatMessage', (t) =>
  t.field({
    type: sentPayload('SendChatMessage', 'sendChatMessage'),
    authScopes: { role },
    description: 'Says something in a session; each deployment begins to answer.',
    args: { input: t.arg({ type: SendChatMessageInput, required: true, description: 'What to say.' }) },
    errors: resultOf('SendChatMessage', sendErrors),
    resolve: (_root, { input }, context) => outcomeOf(() => send(input, context)),
  }),
);

builder.mutationField('regenerateChatMessage', (t) =>
  t.field({
    type: sentPayload('RegenerateChatMessage', 'regenerateChatMessage'),
    authScopes: { role },
    description: 'Writes a further answer beside the given one.',
    args: { input: t.arg({ type: RegenerateChatMessageInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RegenerateChatMessage', sendErrors),
    resolve: (_root, { input }, context) => {
      const parameters = input.parameters ? toParameters(input.parameters) : undefined;
      return outcomeOf(() => context.services.chat.regenerate(toUuid('ChatMessage', input.messageId), parameters, principalOf(context), context.signal));
    },
  }),
);

builder.mutationField('editChatMessage', (t) =>
  t.field({
    type: sentPayload('EditChatMessage', 'editChatMessage'),
    authScopes: { role },
    description: 'Says a message in other words beside the old one, and gets new answers.',
    args: { input: t.arg({ type: EditChatMessageInput, required: true, description: 'Which one, and the new text.' }) },
    errors: resultOf('EditChatMessage', sendErrors),
    resolve: (_root, { input }, context) =>
      outcomeOf(() => context.services.chat.edit(toUuid('ChatMessage', input.messageId), input.message, principalOf(context), context.signal)),
  }),
);

builder.mutationField('stopChatMessage', (t) =>
  t.field({
    type: payloadOf('StopChatMessage', 'chatMessage', ChatMessage),
    authScopes: { role },
    description: 'Ends an answer; the text up to then stays.',
    args: { input: t.arg({ type: StopChatMessageInput, required: true, description: 'Which one.' }) },
    errors: resultOf('StopChatMessage', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => ({ chatMessage: await context.services.chat.stop(toUuid('ChatMessage', input.messageId), principalOf(context), context.signal) })),
  }),
);

builder.mutationField('exportChatSession', (t) =>
  t.field({
    type: ExportedSession,
    authScopes: { role },
    description: 'A session as a file.',
    args: { input: t.arg({ type: ExportChatSessionInput, required: true, description: 'Which one, in which form.' }) },
    errors: resultOf('ExportChatSession', [NotFoundError, InvalidStateError]),
    resolve: (_root, { input }, context) =>
      outcomeOf(async () => {
        const exported = await context.services.chat.export(toUuid('ChatSession', input.sessionId), input.format, principalOf(context), context.signal);
        return { fileName: exported.fileName, contentType: exported.contentType, content: await collect(exported.chunks) };
      }),
  }),
);
