import { createClient, type Client } from 'graphql-ws';
import WebSocket from 'ws';
import type { ChatFront } from './chat-front.ts';
import { readSse } from './sse.ts';

export type StreamedEvent = { type: 'START' | 'TOKEN' | 'END'; messageId: string; index: number; text: string | null; status: string | null };
type Followed = { front: ChatFront; key: string; id: string };
/** The events after a place; leaving the loop drops the connection. */
export type Transport = (followed: Followed & { after: number }) => AsyncGenerator<StreamedEvent>;

const query = 'subscription ($id: ID!, $after: Int) { chatStream(messageId: $id, after: $after) { type messageId index text status } }';
type Result = { data?: { chatStream: StreamedEvent } | null; errors?: readonly unknown[] };

function eventOf({ data, errors }: Result): StreamedEvent {
  if (!data) throw new Error(JSON.stringify(errors));
  return data.chatStream;
}

/** The official client, with a key in its first message. */
export function socketClient({ wsUrl }: ChatFront, key: string): Client {
  return createClient({ url: `${wsUrl}/graphql`, webSocketImpl: WebSocket, connectionParams: { authorization: `Bearer ${key}` }, retryAttempts: 0, lazyCloseTimeout: 0 });
}

export async function* overSocket(client: Client, id: string, after: number): AsyncGenerator<StreamedEvent> {
  for await (const result of client.iterate({ query, variables: { id, after } })) yield eventOf(result as Result);
}

export const transports: Readonly<Record<string, Transport>> = {
  WebSocket: async function* ({ front, key, id, after }) {
    const client = socketClient(front, key);
    try {
      yield* overSocket(client, id, after);
    } finally {
      client.terminate();
    }
  },
  'server-sent events': async function* ({ front, key, id, after }) {
    const leaving = new AbortController();
    const headers = { authorization: `Bearer ${key}`, 'content-type': 'application/json', accept: 'text/event-stream' };
    try {
      const response = await fetch(`${front.url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query, variables: { id, after } }), signal: leaving.signal });
      for await (const { event, data } of readSse(response)) {
        if (event === 'complete') return;
        yield eventOf(JSON.parse(data) as Result);
      }
    } finally {
      leaving.abort();
    }
  },
};

/** Throws where a piece is missing, doubled or out of its place. */
export class Pieces {
  text = '';
  last = -1;

  /** True for the last event. */
  take({ type, index, text }: StreamedEvent): boolean {
    if (type === 'TOKEN') {
      if (index !== this.last + 1) throw new Error(`piece ${index} where ${this.last + 1} was due`);
      this.last = index;
      this.text += text ?? '';
    } else if (index !== this.last) throw new Error(`${type} at ${index} behind ${this.last}`);
    return type === 'END';
  }
}

/** Reads until it has `dropAfter` pieces, loses its connection, and goes on behind the last one to the end; the text of both. */
export async function dropAndResume(open: Transport, { dropAfter, onPiece, ...followed }: Followed & { dropAfter: number; onPiece: (index: number) => void }): Promise<string> {
  const pieces = new Pieces();
  const read = async (isEnough: () => boolean): Promise<boolean> => {
    for await (const event of open({ ...followed, after: pieces.last })) {
      const isOver = pieces.take(event);
      onPiece(pieces.last);
      if (isOver) return true;
      if (isEnough()) return false;
    }
    throw new Error('the stream ended without its end');
  };
  if (!(await read(() => pieces.last + 1 >= dropAfter)) && !(await read(() => false))) throw new Error('not from start to end');
  return pieces.text;
}
