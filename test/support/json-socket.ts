import { WebSocket } from 'ws';

export type SocketMessage = Record<string, unknown> & { type: string };

export type JsonSocket = {
  socket: WebSocket;
  send(message: unknown): void;
  /** The next message; rejects when the socket closes first. */
  next(): Promise<SocketMessage>;
  /** Messages up to the first that passes, that one included. */
  until(isLast: (message: SocketMessage) => boolean): Promise<SocketMessage[]>;
  closed: Promise<{ code: number; reason: string }>;
  end(): Promise<void>;
};

/** Resolves when the socket is open; rejects with the refusal's status and body. */
export async function openJsonSocket(url: string, headers: Record<string, string> = {}): Promise<JsonSocket> {
  const socket = new WebSocket(url, { headers });
  const waiting: SocketMessage[] = [];
  let wake: (() => void) | null = null;
  let ended: { code: number; reason: string } | null = null;
  socket.on('message', (data: Buffer) => {
    waiting.push(JSON.parse(data.toString('utf8')) as SocketMessage);
    wake?.();
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on('close', (code, reason) => {
      ended = { code, reason: reason.toString('utf8') };
      wake?.();
      resolve(ended);
    });
  });
  const next = async (): Promise<SocketMessage> => {
    for (;;) {
      const message = waiting.shift();
      if (message) return message;
      if (ended) throw new Error(`closed: ${ended.code} ${ended.reason}`);
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  await new Promise<void>((resolve, reject) => {
    socket.once('open', () => resolve());
    socket.once('error', reject);
    socket.once('unexpected-response', (_req, res) => {
      let body = '';
      res.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')));
      res.on('end', () => {
        socket.terminate();
        reject(new Error(`refused: ${res.statusCode ?? 0} ${body}`));
      });
    });
  });
  socket.on('error', () => {});
  return {
    socket,
    send: (message) => socket.send(typeof message === 'string' || Buffer.isBuffer(message) ? message : JSON.stringify(message)),
    next,
    async until(isLast) {
      const seen: SocketMessage[] = [];
      do seen.push(await next());
      while (!isLast(seen.at(-1)!));
      return seen;
    },
    closed,
    async end() {
      socket.close();
      await closed;
    },
  };
}
