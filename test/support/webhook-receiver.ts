import { createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export type Received = { path: string; headers: Readonly<Record<string, string | string[] | undefined>>; body: string };
export type ReceiverMode = 'accept' | 'fail' | 'hang' | 'redirect' | 'reset' | 'endless';

export type WebhookReceiver = {
  readonly url: string;
  readonly received: Received[];
  /** Requests at `/elsewhere`, where a redirect leads. */
  readonly elsewhere: Received[];
  mode: ReceiverMode;
  close(): Promise<void>;
};

/** A real server that takes what webhooks post, and can misbehave as such servers do. */
export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const receiver = { received: [] as Received[], elsewhere: [] as Received[], mode: 'accept' as ReceiverMode };
  const server = createServer((request, response) => void take(request, response));
  const take = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const received = { path: request.url ?? '', headers: request.headers, body: Buffer.concat(chunks).toString('utf8') };
    (received.path.startsWith('/elsewhere') ? receiver.elsewhere : receiver.received).push(received);
    answer(receiver.mode, request, response);
  };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook?token=of-the-receiver`;
  return Object.assign(receiver, {
    url,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

function answer(mode: ReceiverMode, request: IncomingMessage, response: ServerResponse): void {
  switch (mode) {
    case 'accept':
      response.writeHead(204).end();
      return;
    case 'fail':
      response.writeHead(500).end('it failed');
      return;
    case 'redirect':
      response.writeHead(307, { location: '/elsewhere' }).end();
      return;
    case 'reset':
      request.socket.resetAndDestroy();
      return;
    case 'endless': {
      response.writeHead(200);
      const piece = Buffer.alloc(64 * 1024);
      const write = (): void => {
        while (!response.destroyed && response.write(piece));
      };
      response.on('drain', write);
      write();
      return;
    }
    case 'hang':
      return;
  }
}

/** As a receiver checks it: whether the request was signed with this secret. */
export function isSignedWith(secret: string | Buffer, { headers, body }: Received): boolean {
  const content = `${String(headers['webhook-id'])}.${String(headers['webhook-timestamp'])}.${body}`;
  return headers['webhook-signature'] === `v1,${createHmac('sha256', secret).update(content).digest('base64')}`;
}
