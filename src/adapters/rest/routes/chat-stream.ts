import {
  ChatMessagePlaceDocument,
  ChatStreamDocument,
  ChatTurnDocument,
  SendChatMessageDocument,
  type ChatStreamSubscription,
  type SendChatMessageMutationVariables,
} from '../../../../schema/generated/graphql.ts';
import { AppError, isAppError, validationFailed } from '../../../shared/errors.ts';
import { isId } from '../../../shared/ids.ts';
import type { PushStream } from '../../../shared/push-stream.ts';
import { maskedError } from '../../http/error-response.ts';
import { toEventText, type EventStream } from '../../http/event-stream.ts';
import { toChatObjects, type ChatObject } from '../../websocket/chat-events.ts';
import { errorMessage } from '../../websocket/error-message.ts';
import { payloadOf, type Answer, type Call, type HeaderInput } from '../route.ts';

export type SendInput = Omit<SendChatMessageMutationVariables['input'], 'waitForAnswers'>;

export const lastEventHeader: HeaderInput = { name: 'Last-Event-ID', description: '`<message_id>:<index>` of the last event that the reader has; goes on there instead of saying the message again.' };

type StreamCall = Pick<Call<unknown, unknown>, 'exchange' | 'execute' | 'subscribe' | 'openStream'>;
type Place = { messageId: string; after: number };

const indexPattern = /^-?\d{1,9}$/;

/** Where a reader that lost its connection wants to go on; null for a new message. */
function lastEventOf({ req }: StreamCall['exchange']): Place | null {
  const given = req.headers['last-event-id'];
  if (typeof given !== 'string' || given === '') return null;
  const colon = given.indexOf(':');
  const index = given.slice(colon + 1);
  if (colon === -1 || !isId(given.slice(0, colon)) || !indexPattern.test(index) || Number(index) < -1) {
    throw validationFailed([{ field: 'Last-Event-ID', message: 'must be <message_id>:<index>' }]);
  }
  return { messageId: given.slice(0, colon).toLowerCase(), after: Number(index) };
}

function globalIdOf(type: string, id: string): string {
  return Buffer.from(`${type}:${id}`, 'utf8').toString('base64');
}

async function begin(call: StreamCall, input: SendInput): Promise<{ places: Place[]; sessionId: string }> {
  const { sendChatMessage } = await call.execute(SendChatMessageDocument, { input: { ...input, waitForAnswers: false } });
  const { session, answers } = payloadOf(sendChatMessage, 'SendChatMessagePayload');
  return { sessionId: session.sessionId, places: answers.map(({ messageId }) => ({ messageId, after: -1 })) };
}

/**
 * A reader that asks again with the last event that it got wants the rest of that turn. Its place in the answer
 * that it names is known; of the other answers of the turn it may have anything, so they come from the start,
 * and their indexes tell what is new.
 */
async function resume(call: StreamCall, last: Place): Promise<{ places: Place[]; sessionId: string }> {
  const { node } = await call.execute(ChatMessagePlaceDocument, { id: globalIdOf('ChatMessage', last.messageId) });
  if (node?.__typename !== 'ChatMessage') throw new AppError('CHAT_MESSAGE_NOT_FOUND', 'There is no such chat message.');
  const { sessionId, parentId, createdAt } = node;
  const { session } = await call.execute(ChatTurnDocument, { sessionId });
  const turn = session?.tree?.nodes.map(({ message }) => message).filter((message) => message.parentId === parentId && message.createdAt === createdAt) ?? [];
  const others = turn.filter(({ messageId, role }) => messageId !== last.messageId && role === 'ASSISTANT');
  return { sessionId, places: [last, ...others.map(({ messageId }) => ({ messageId, after: -1 }))] };
}

type Source = { place: Place; events: PushStream<ChatStreamSubscription> };

async function pump(stream: EventStream, { place, events }: Source, exchange: StreamCall['exchange']): Promise<void> {
  const { requestId, signal, logger } = exchange;
  try {
    const toText = (object: ChatObject): string => toEventText({ id: `${place.messageId}:${object.index}`, data: object });
    await events.each(({ chatStream }) => stream.write(toChatObjects(chatStream, requestId).map(toText).join('')), signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!isAppError(error)) logger.error({ err: error }, 'stream of an answer failed');
    // The other answers go on: this one's failure is news of this one.
    await stream.send({ data: errorMessage(isAppError(error) ? error : maskedError(requestId), { requestId, messageId: place.messageId }) });
  }
}

/** The answers of a turn as events, side by side as they come. Errors before the first event are thrown. */
export async function streamAnswers(call: StreamCall, input: SendInput): Promise<Answer> {
  const { exchange, subscribe, openStream } = call;
  const last = lastEventOf(exchange);
  const { places, sessionId } = last ? await resume(call, last) : await begin(call, input);
  const open = async (place: Place): Promise<Source> => ({ place, events: await subscribe(ChatStreamDocument, { messageId: place.messageId, after: place.after }) });
  const sources = await Promise.all(places.map(open));
  const stream = openStream({ 'x-chat-session-id': sessionId });
  await Promise.all(sources.map((source) => pump(stream, source, exchange)));
  stream.end();
  return { streamed: true };
}
