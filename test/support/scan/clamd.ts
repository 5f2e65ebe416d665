/** A ClamAV daemon as far as its protocol goes: INSTREAM on a TCP port or a socket, with one signature. */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import type { ClamdEndpoint } from '../../../src/domains/downloads/scanners/clamd-client.ts';

/** The text that every virus scanner takes for a virus, in two halves so that none takes this file for one. */
export const eicar = 'X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-' + 'STANDARD-ANTIVIRUS-TEST-FILE!$H+H*';
export const eicarName = 'Eicar-Test-Signature';

export type ClamdKnobs = {
  /** As StreamMaxLength: it says so and hangs up where a stream is longer, with what is on its way unread. */
  streamBytesMax: number;
  /** Dies when a stream is too long, and is not there from then on. */
  dies: boolean;
  /** In place of what it would say; null = it says nothing and keeps the connection. */
  answer?: string | null;
};

export type Clamd = { readonly endpoint: ClamdEndpoint; readonly knobs: ClamdKnobs; /** Bytes of each stream that ended. */ readonly streams: number[]; close(): Promise<void> };

const command = 'zINSTREAM\0';

/** What is whole in the buffer: the content so far, and whether the stream has ended. */
function readChunks(buffer: Buffer): { content: Buffer; ended: boolean } {
  const chunks: Buffer[] = [];
  for (let at = command.length; at + 4 <= buffer.length; ) {
    const length = buffer.readUInt32BE(at);
    if (length === 0) return { content: Buffer.concat(chunks), ended: true };
    chunks.push(buffer.subarray(at + 4, at + 4 + length));
    at += 4 + length;
  }
  return { content: Buffer.concat(chunks), ended: false };
}

function serve(server: Server, socket: Socket, knobs: ClamdKnobs, streams: number[]): void {
  let buffer: Buffer = Buffer.alloc(0);
  const say = (line: string): void => void socket.end(`${line}\0`);
  socket.on('error', () => undefined);
  socket.on('data', (bytes: Buffer) => {
    buffer = Buffer.concat([buffer, bytes]);
    if (buffer.toString('latin1') === 'zPING\0') return say('PONG');
    if (buffer.length < command.length) return;
    if (buffer.subarray(0, command.length).toString('latin1') !== command) return say('UNKNOWN COMMAND');
    const { content, ended } = readChunks(buffer);
    if (content.length > knobs.streamBytesMax) {
      if (knobs.dies) server.close();
      // What it says is lost with the connection more often than not, as with the real one.
      socket.write('INSTREAM size limit exceeded. ERROR\0');
      socket.resetAndDestroy();
      return;
    }
    if (!ended) return;
    streams.push(content.length);
    if (knobs.answer !== undefined) {
      if (knobs.answer !== null) say(knobs.answer);
      return;
    }
    say(content.includes(eicar) ? `stream: ${eicarName} FOUND` : 'stream: OK');
  });
}

export async function startClamd(socketPath: string | null = null): Promise<Clamd> {
  const knobs: ClamdKnobs = { streamBytesMax: 25 * 1024 * 1024, dies: false };
  const streams: number[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.once('close', () => sockets.delete(socket)));
    serve(server, socket, knobs, streams);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    if (socketPath === null) server.listen(0, '127.0.0.1', resolve);
    else server.listen(socketPath, resolve);
  });
  const address = server.address();
  const endpoint: ClamdEndpoint = socketPath === null ? { kind: 'tcp', host: '127.0.0.1', port: (address as AddressInfo).port } : { kind: 'socket', path: socketPath };
  return {
    endpoint,
    knobs,
    streams,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of sockets) socket.destroy();
      }),
  };
}
