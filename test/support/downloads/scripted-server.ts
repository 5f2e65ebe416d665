/** A server that says word for word what a test gives it, which no HTTP library would let it. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer as createTlsServer } from 'node:tls';

export type Script = (request: { text: string; nth: number; socket: Socket }) => void;

export type ScriptedServer = {
  readonly port: number;
  readonly requests: readonly string[];
  /** Connections that were made so far. */
  readonly connections: number;
  /** Those that are open now. */
  readonly open: number;
  close(): Promise<void>;
};

export type Certificate = { key: string; cert: string };

export async function startScriptedServer(script: Script, certificate?: Certificate): Promise<ScriptedServer> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let connections = 0;
  const onConnection = (socket: Socket): void => {
    connections += 1;
    sockets.add(socket);
    let received = '';
    socket.on('error', () => socket.destroy()).on('close', () => sockets.delete(socket));
    socket.on('data', (piece: Buffer) => {
      received += piece.toString('latin1');
      for (let end = received.indexOf('\r\n\r\n'); end >= 0; end = received.indexOf('\r\n\r\n')) {
        const text = received.slice(0, end);
        received = received.slice(end + 4);
        requests.push(text);
        script({ text, nth: requests.length, socket });
      }
    });
  };
  const server: Server = certificate ? createTlsServer(certificate, onConnection) : createServer(onConnection);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    get connections() {
      return connections;
    },
    get open() {
      return sockets.size;
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/** For `localhost`, made now and good for a day; null where there is no `openssl` command. */
export function makeCertificate(): Certificate | null {
  const folder = mkdtempSync(join(tmpdir(), 'certificate-'));
  const file = (name: string): string => join(folder, name);
  try {
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1', '-keyout', file('key'), '-out', file('cert'), ...subject], { stdio: 'ignore' });
    return { key: readFileSync(file('key'), 'utf8'), cert: readFileSync(file('cert'), 'utf8') };
  } catch {
    return null;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
