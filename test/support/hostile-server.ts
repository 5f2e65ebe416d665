import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';

export type HostileServer = { url: string; port: number; /** First lines of requests, in order. */ readonly requests: readonly string[]; close(): Promise<void> };

/** A server that does with a connection what no HTTP server should, once the head of a request has come. */
export async function startHostileServer(answer: (socket: Socket, requestLine: string) => void): Promise<HostileServer> {
  const sockets = new Set<Socket>();
  const requests: string[] = [];
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => undefined);
    let head = '';
    const onData = (chunk: Buffer): void => {
      head += chunk.toString('latin1');
      if (!head.includes('\r\n\r\n')) return;
      socket.off('data', onData);
      socket.resume();
      const [line = ''] = head.split('\r\n', 1);
      requests.push(line);
      answer(socket, line);
    };
    socket.on('data', onData);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Listening on a port, never on a path.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    requests,
    close: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

export function answerJson(socket: Socket, text: string): void {
  socket.end(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
}

/** `first`, then `chunk` again and again for as long as anybody reads. */
export function answerForEver(socket: Socket, first: string, chunk: string): void {
  socket.write(first);
  const goOn = (): void => {
    while (socket.writable && socket.write(chunk));
    if (socket.writable) socket.once('drain', goOn);
  };
  goOn();
}
