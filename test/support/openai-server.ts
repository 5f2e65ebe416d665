import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';

export type OpenAiServer = {
  readonly url: string;
  /** Paths and keys as they came. */
  readonly requests: { path: string; authorization: string | undefined }[];
  /** 200 = answers; anything else is what it answers with. */
  status: number;
  /** Listens again on the same port after `close`. */
  reopen(): Promise<void>;
  close(): Promise<void>;
};

/** A server somewhere else that speaks enough of OpenAI's HTTP to be found and used. */
export async function startOpenAiServer(options: { models?: readonly string[]; apiKey?: string; path?: string } = {}): Promise<OpenAiServer> {
  const { models = ['first-model', 'second-model'], apiKey, path = '' } = options;
  const requests: OpenAiServer['requests'] = [];
  const state = { status: 200 };
  const server = createServer((request, response) => {
    requests.push({ path: request.url ?? '', authorization: request.headers.authorization });
    const isAllowed = apiKey === undefined || request.headers.authorization === `Bearer ${apiKey}`;
    const status = !isAllowed ? 401 : request.url === `${path}/v1/models` ? state.status : 404;
    const body = { object: 'list', data: models.map((id) => ({ id, object: 'model' })) };
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' }).end(JSON.stringify(status === 200 ? body : { error: { message: 'no' } }));
  });
  const listen = async (port: number): Promise<void> => {
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  };
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${path}`,
    requests,
    get status() {
      return state.status;
    },
    set status(value) {
      state.status = value;
    },
    reopen: () => listen(port),
    close: async () => {
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
}
