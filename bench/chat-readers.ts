/** One reader for each way to an answer; each resolves when its answer is complete, with the delay of every token. */
import { once } from 'node:events';
import { Agent, request as send, type IncomingMessage } from 'node:http';
import { createParser } from 'eventsource-parser';
import { WebSocket } from 'ws';

export type Target = { engineUrl: string; url: string; key: string; deploymentId: string; model: string; tokens: number; /** Each answer opens a socket of its own. */ isFresh: boolean };
export type Reader = (target: Target) => Promise<number[]>;

const agent = new Agent({ keepAlive: true, maxSockets: Infinity });
const nowMs = (): number => performance.timeOrigin + performance.now();

/** A piece may hold several tokens, each the moment of its writing. */
function take(delays: number[], text: string): void {
  const now = nowMs();
  for (const token of text.split(' ')) if (token !== '') delays.push(now - Number(token));
}

function post(url: string, body: object, headers: Record<string, string>): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const text = JSON.stringify(body);
  const request = send(url, { method: 'POST', agent, headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), ...headers } }, resolve);
  request.on('error', reject).end(text);
  return promise;
}

async function readEvents(response: IncomingMessage, onData: (data: string) => void): Promise<void> {
  if (response.statusCode !== 200) throw new Error(`status ${response.statusCode}: ${Buffer.concat(await response.toArray()).toString('utf8')}`);
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const parser = createParser({
    onEvent: ({ data }) => {
      try {
        onData(data);
      } catch (error) {
        reject(error);
      }
    },
  });
  response.setEncoding('utf8').on('data', (chunk: string) => parser.feed(chunk));
  response.on('end', () => resolve(undefined)).on('error', reject);
  await promise;
}

type Chunk = { choices?: { delta?: { content?: string } }[]; error?: { message: string } };

async function readCompletion(url: string, target: Target, headers: Record<string, string>): Promise<number[]> {
  const delays: number[] = [];
  const response = await post(`${url}/v1/chat/completions`, { model: target.model, stream: true, messages: [{ role: 'user', content: `tokens=${target.tokens}` }] }, headers);
  await readEvents(response, (data) => {
    if (data === '[DONE]') return;
    const chunk = JSON.parse(data) as Chunk;
    if (chunk.error) throw new Error(chunk.error.message);
    take(delays, chunk.choices?.[0]?.delta?.content ?? '');
  });
  return delays;
}

const bearer = ({ key }: Target): Record<string, string> => ({ authorization: `Bearer ${key}` });
type StreamObject = { type: string; text?: string };

async function graphql<T>(target: Target, query: string, variables: object): Promise<T> {
  const response = await post(`${target.url}/graphql`, { query, variables }, { ...bearer(target), accept: 'application/json' });
  const body = JSON.parse(Buffer.concat(await response.toArray()).toString('utf8')) as { data: T; errors?: unknown };
  if (body.errors) throw new Error(JSON.stringify(body.errors));
  return body.data;
}

async function begin(target: Target): Promise<string> {
  const query = 'mutation ($input: SendChatMessageInput!) { sendChatMessage(input: $input) { __typename ... on SendChatMessagePayload { answers { messageId } } ... on UserError { message } } }';
  const { sendChatMessage } = await graphql<{ sendChatMessage: { answers?: { messageId: string }[]; message?: string } }>(target, query, { input: { deploymentIds: [target.deploymentId], message: `tokens=${target.tokens}` } });
  const id = sendChatMessage.answers?.[0]?.messageId;
  if (id === undefined) throw new Error(sendChatMessage.message ?? 'no answer');
  return id;
}

const subscription = 'subscription ($id: ID!) { chatStream(messageId: $id) { type index text } }';
type Followed = { data?: { chatStream: StreamObject } };

type Message = Record<string, unknown>;
type SocketOptions = { headers: Record<string, string>; protocol?: string; greeting?: object };

/** By their addresses: kept open between answers, as `agent` keeps connections and as a program does that chats. */
const resting = new Map<string, WebSocket[]>();

async function openSocket(url: string, { headers, protocol, greeting }: SocketOptions): Promise<WebSocket> {
  const kept = resting.get(url)?.pop();
  if (kept) return kept;
  const socket = new WebSocket(url, protocol === undefined ? [] : [protocol], { headers, perMessageDeflate: false });
  await once(socket, 'open');
  if (greeting) {
    socket.send(JSON.stringify(greeting));
    await once(socket, 'message');
  }
  return socket;
}

/** Until `onMessage` says that the answer is over. */
async function readSocket(url: string, options: SocketOptions & { isFresh: boolean }, say: (socket: WebSocket) => Promise<void>, onMessage: (message: Message) => boolean): Promise<void> {
  const socket = await openSocket(url, options);
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  socket.on('message', (data: Buffer) => {
    if (onMessage(JSON.parse(data.toString('utf8')) as Message)) resolve(undefined);
  });
  socket.on('error', reject).on('close', (code, reason) => reject(new Error(`closed ${code} ${reason.toString('utf8')}`)));
  try {
    await say(socket);
    await promise;
  } catch (error) {
    socket.terminate();
    throw error;
  }
  socket.removeAllListeners();
  if (options.isFresh) socket.terminate();
  else resting.set(url, [...(resting.get(url) ?? []), socket]);
}

export const readers: Readonly<Record<string, Reader>> = {
  direct: (target) => readCompletion(target.engineUrl, target, {}),
  'gateway SSE': (target) => readCompletion(target.url, target, bearer(target)),
  'REST SSE': async (target) => {
    const delays: number[] = [];
    const response = await post(`${target.url}/api/chat/send`, { deployment_id: target.deploymentId, message: `tokens=${target.tokens}`, stream: true }, bearer(target));
    await readEvents(response, (data) => take(delays, (JSON.parse(data) as StreamObject).text ?? ''));
    return delays;
  },
  'GraphQL SSE': async (target) => {
    const delays: number[] = [];
    const id = await begin(target);
    const response = await post(`${target.url}/graphql`, { query: subscription, variables: { id } }, { ...bearer(target), accept: 'text/event-stream' });
    await readEvents(response, (data) => take(delays, data === '' ? '' : ((JSON.parse(data) as Followed).data?.chatStream.text ?? '')));
    return delays;
  },
  'GraphQL WS': async (target) => {
    const delays: number[] = [];
    const options = { headers: bearer(target), protocol: 'graphql-transport-ws', greeting: { type: 'connection_init' }, isFresh: target.isFresh };
    const say = async (socket: WebSocket): Promise<void> => {
      const id = await begin(target);
      socket.send(JSON.stringify({ id, type: 'subscribe', payload: { query: subscription, variables: { id } } }));
    };
    await readSocket(`${target.url.replace('http', 'ws')}/graphql`, options, say, ({ type, payload }) => {
      if (type === 'next') take(delays, (payload as Followed).data?.chatStream.text ?? '');
      return type === 'complete' || type === 'error';
    });
    return delays;
  },
  '/ws/chat/stream': async (target) => {
    const delays: number[] = [];
    const say = async (socket: WebSocket): Promise<void> => {
      const created = await post(`${target.url}/api/chat/sessions/create`, { deployment_ids: [target.deploymentId] }, bearer(target));
      const { session } = JSON.parse(Buffer.concat(await created.toArray()).toString('utf8')) as { session: { session_id: string } };
      socket.send(JSON.stringify({ type: 'send', request_id: 'r', session_id: session.session_id, message: `tokens=${target.tokens}` }));
    };
    await readSocket(`${target.url.replace('http', 'ws')}/ws/chat/stream`, { headers: bearer(target), isFresh: target.isFresh }, say, ({ type, text }) => {
      if (type === 'token') take(delays, String(text));
      return type === 'end' || type === 'error';
    });
    return delays;
  },
};
