import * as z from 'zod';
import { ChatStreamDocument, SendChatMessageDocument, StopChatMessageDocument, type ChatStreamSubscription } from '../../../schema/generated/graphql.ts';
import { deploymentsMax } from '../../domains/chat/types.ts';
import { AppError, isAppError, validationFailed } from '../../shared/errors.ts';
import type { PushStream } from '../../shared/push-stream.ts';
import type { Executor } from '../graphql/executor.ts';
import { toParameters } from '../rest/chat-parameters.ts';
import { parseInput, queryObject } from '../rest/input.ts';
import { chatParameters } from '../rest/request-schemas.ts';
import { payloadOf } from '../rest/route.ts';
import { internalError, type OpenSocket, type SocketRoute } from './accept.ts';
import { toChatObjects, type ChatObject } from './chat-events.ts';
import type { Connection } from './connection.ts';
import { errorMessage } from './error-message.ts';

/** Answers that one socket follows at once; more clients of one program open more sockets. */
const streamsMax = 32;

const requestId = z.string().min(1).max(200);
const messageId = z.string().min(1).max(200);

const clientMessage = z.discriminatedUnion('type', [
  z.strictObject({
    type: z.literal('send'),
    request_id: requestId,
    session_id: z.string().min(1).max(200),
    message: z.string(),
    deployment_ids: z.array(z.string().min(1).max(200)).min(1).max(deploymentsMax).optional(),
    parameters: chatParameters.optional(),
  }),
  z.strictObject({ type: z.literal('stop'), request_id: requestId.optional(), message_id: messageId }),
  z.strictObject({ type: z.literal('resume'), request_id: requestId.optional(), message_id: messageId, after: z.number().int().min(-1).max(2_147_483_647).optional() }),
]);

type ClientMessage = z.output<typeof clientMessage>;
type Request<Type extends ClientMessage['type']> = Extract<ClientMessage, { type: Type }>;
type Follow = { messageId: string; after: number; requestId: string | null };
type Events = PushStream<ChatStreamSubscription>;
/** Follows an answer in the room that its request holds. */
type Begin = (follow: Follow, events: Events) => void;

/** What one socket has in hand. */
class ChatSocket {
  readonly #socket: OpenSocket;
  readonly #executor: Executor;
  #streams = 0;

  constructor(socket: OpenSocket, executor: Executor) {
    this.#socket = socket;
    this.#executor = executor;
  }

  async receive(given: Record<string, unknown>): Promise<void> {
    const message = parseInput(clientMessage, given);
    try {
      await this.#handle(message);
    } catch (error) {
      if (!isAppError(error) || message.type === 'send') throw error;
      await this.#socket.connection.send(errorMessage(error, { requestId: message.request_id ?? null, messageId: message.message_id }));
    }
  }

  async #handle(message: ClientMessage): Promise<void> {
    switch (message.type) {
      case 'send':
        await this.#reserved(message.deployment_ids?.length ?? 1, (begin) => this.#send(message, begin));
        break;
      case 'resume': {
        const follow = { messageId: message.message_id, after: message.after ?? -1, requestId: message.request_id ?? null };
        // Subscribed within the request, so that a wrong id is the answer to it.
        await this.#reserved(1, async (begin) => begin(follow, await this.#subscribe(follow)));
        break;
      }
      case 'stop':
        await this.#executor.execute(this.#socket.caller)(StopChatMessageDocument, { input: { messageId: message.message_id } });
    }
  }

  /** Room is held while a request is being served, so that a burst of them cannot pass the check together. */
  async #reserved(count: number, work: (begin: Begin) => Promise<void>): Promise<void> {
    if (this.#streams + count > streamsMax) {
      throw new AppError('OVERLOADED', `One socket follows ${streamsMax} answers at once; open another one.`, { details: { max_streams: streamsMax } });
    }
    let held = count;
    this.#streams += count;
    const begin: Begin = (follow, events) => {
      if (held > 0) held -= 1;
      else this.#streams += 1;
      void this.#follow(follow, events);
    };
    try {
      await work(begin);
    } finally {
      this.#streams -= held;
    }
  }

  async #send({ request_id: requestId, session_id: sessionId, message, deployment_ids: deploymentIds, parameters }: Request<'send'>, begin: Begin): Promise<void> {
    const input = { sessionId, message, deploymentIds, parameters: toParameters(parameters), waitForAnswers: false };
    const { sendChatMessage } = await this.#executor.execute(this.#socket.caller)(SendChatMessageDocument, { input });
    for (const { messageId } of payloadOf(sendChatMessage, 'SendChatMessagePayload').answers) {
      const follow = { messageId, after: -1, requestId };
      begin(follow, await this.#subscribe(follow));
    }
  }

  async #subscribe({ messageId, after }: Follow): Promise<Events> {
    return await this.#executor.subscribe(this.#socket.caller)(ChatStreamDocument, { messageId, after });
  }

  /** Pulls the next event only when the client has room for it. Never rejects. */
  async #follow(follow: Follow, events: Events): Promise<void> {
    const { connection, logger } = this.#socket;
    try {
      await events.each(({ chatStream }) => sendAll(connection, toChatObjects(chatStream, follow.requestId)), connection.signal);
    } catch (error) {
      if (connection.signal.aborted) return;
      if (!isAppError(error)) logger.error({ err: error }, 'stream of an answer failed');
      const shown = isAppError(error) ? error : internalError();
      await connection.tell(errorMessage(shown, follow));
    } finally {
      this.#streams -= 1;
    }
  }
}

function sendAll(connection: Connection, [first, ...others]: readonly ChatObject[]): Promise<void> | undefined {
  if (!first) return undefined;
  const room = connection.send(first);
  return room ? room.then(() => sendAll(connection, others)) : sendAll(connection, others);
}

/** `/ws/chat/stream`: says messages, stops and follows answers, many at once. */
export function chatStreamSocket(executor: Executor): SocketRoute {
  return {
    path: '/ws/chat/stream',
    checkQuery(url) {
      const names = Object.keys(queryObject(url));
      if (names.length > 0) throw validationFailed(names.map((field) => ({ field, message: 'unknown field' })));
    },
    open(socket) {
      const chat = new ChatSocket(socket, executor);
      socket.onMessage((message) => chat.receive(message));
    },
  };
}
