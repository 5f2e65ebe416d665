import * as z from 'zod';
import {
  ChatHistoryDocument,
  CreateChatSessionDocument,
  DeleteChatSessionDocument,
  SendChatMessageDocument,
} from '../../../../schema/generated/graphql.ts';
import { validationFailed } from '../../../shared/errors.ts';
import { sendFile } from '../../http/send-file.ts';
import { toParameters } from '../chat-parameters.ts';
import { contentDisposition } from '../content-disposition.ts';
import { pageQuery } from '../input.ts';
import { chatView, toList } from '../../../shared/json-view.ts';
import { createSessionBody, exportBody, sendMessageBody } from '../request-schemas.ts';
import { chatStreamObject, listOf, message, sentAnswer, sessionAnswer } from '../response-schemas.ts';
import { defineRoute, found, idempotencyHeader, idempotencyKeyOf, payloadOf, type RestRoute } from '../route.ts';
import { lastEventHeader, streamAnswers, type SendInput } from './chat-stream.ts';

type Answerers = { deployment_id?: string | undefined; deployment_ids?: string[] | undefined };

function deploymentIdsOf({ deployment_id: one, deployment_ids: several }: Answerers): string[] | undefined {
  if (one !== undefined && several !== undefined) throw validationFailed([{ field: 'deployment_id', message: 'give either deployment_id or deployment_ids' }]);
  return one === undefined ? several : [one];
}

const createSession = defineRoute({
  method: 'POST',
  path: '/chat/sessions/create',
  operationId: 'createChatSession',
  tag: 'Chat',
  summary: 'Begins a session.',
  body: createSessionBody,
  mayLackBody: true,
  statuses: [201],
  response: sessionAnswer,
  errors: ['DEPLOYMENT_NOT_FOUND', 'INVALID_STATE'],
  async handle({ body, execute }) {
    const input = { title: body.title, systemPrompt: body.system_prompt, deploymentIds: deploymentIdsOf(body), parameters: toParameters(body.parameters) };
    const { createChatSession } = await execute(CreateChatSessionDocument, { input });
    return { status: 201, body: { session: chatView(payloadOf(createChatSession, 'CreateChatSessionPayload').session) } };
  },
});

const send = defineRoute({
  method: 'POST',
  path: '/chat/send',
  operationId: 'sendChatMessage',
  tag: 'Chat',
  summary: 'Says something; answers when every deployment has, or with `stream` at once as events. A caller who leaves does not end an answer.',
  body: sendMessageBody,
  statuses: [200],
  response: sentAnswer,
  stream: {
    description:
      '`stream: true`: each event is one of these objects, its id is `<message_id>:<index>`. The same request with `Last-Event-ID` says nothing again: the answers of that message go on after that piece, and others to the same message come from their start. `X-Chat-Session-Id` names the session.',
    schema: chatStreamObject,
  },
  headers: [idempotencyHeader, lastEventHeader],
  errors: ['CHAT_SESSION_NOT_FOUND', 'CHAT_MESSAGE_NOT_FOUND', 'DEPLOYMENT_NOT_FOUND', 'INVALID_STATE', 'RUNTIME_UNAVAILABLE', 'IDEMPOTENCY_CONFLICT', 'RATE_LIMITED', 'QUOTA_EXCEEDED'],
  async handle(call) {
    const { body, exchange, execute } = call;
    const input: SendInput = {
      sessionId: body.session_id,
      deploymentIds: deploymentIdsOf(body),
      message: body.message,
      parameters: toParameters(body.parameters),
      idempotencyKey: idempotencyKeyOf(exchange),
    };
    if (body.stream) return await streamAnswers(call, input);
    const { sendChatMessage } = await execute(SendChatMessageDocument, { input: { ...input, waitForAnswers: true } });
    const { session, userMessage, answers } = payloadOf(sendChatMessage, 'SendChatMessagePayload');
    return { status: 200, body: { session_id: session.sessionId, messages: [userMessage, ...answers].map(chatView) } };
  },
});

const history = defineRoute({
  method: 'GET',
  path: '/chat/history/{session_id}',
  operationId: 'getChatHistory',
  tag: 'Chat',
  summary: 'The messages of a session, oldest first.',
  query: z.strictObject(pageQuery),
  statuses: [200],
  response: listOf(message),
  errors: ['CHAT_SESSION_NOT_FOUND'],
  async handle({ params: { session_id: sessionId = '' }, query, execute }) {
    const { session } = await execute(ChatHistoryDocument, { sessionId, ...(query.limit !== undefined && { first: query.limit }), after: query.cursor });
    return { status: 200, body: toList(found(session?.messages, 'CHAT_SESSION_NOT_FOUND', 'There is no such chat session.'), chatView) };
  },
});

const deleteSession = defineRoute({
  method: 'DELETE',
  path: '/chat/sessions/{session_id}',
  operationId: 'deleteChatSession',
  tag: 'Chat',
  summary: 'Removes a session; unfinished answers are stopped first.',
  statuses: [204],
  response: null,
  errors: ['CHAT_SESSION_NOT_FOUND'],
  async handle({ params: { session_id: sessionId = '' }, execute }) {
    await execute(DeleteChatSessionDocument, { input: { sessionId } });
    return { status: 204, body: undefined };
  },
});

const exportSession = defineRoute({
  method: 'POST',
  path: '/chat/export/{session_id}',
  operationId: 'exportChatSession',
  tag: 'Chat',
  summary: 'A session as a file.',
  body: exportBody,
  statuses: [200],
  response: z.string(),
  contentTypes: ['application/json', 'text/markdown', 'application/jsonl', 'text/html', 'text/plain'],
  errors: ['CHAT_SESSION_NOT_FOUND'],
  async handle({ params: { session_id: sessionId = '' }, body, exchange, exportSession: open }) {
    const { fileName, contentType, chunks } = await open(sessionId, body.format);
    await sendFile(exchange, { 'content-type': contentType, 'content-disposition': contentDisposition(fileName) }, chunks);
    return { streamed: true };
  },
});

export const chatRoutes: readonly RestRoute[] = [createSession, send, history, deleteSession, exportSession];
