import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type ServerOptions } from 'ws';
import { AppError, validationFailed } from '../../shared/errors.ts';
import { httpStatusOf, retryAfterSecondsOf, toErrorBody } from './error-response.ts';

const requestIdPattern = /^[A-Za-z0-9._-]{1,128}$/;

/** The caller's own request id when it is a valid one, else a new one. */
export function requestIdOf(req: IncomingMessage): string {
  const given = req.headers['x-request-id'];
  return typeof given === 'string' && requestIdPattern.test(given) ? given : randomUUID();
}

/** Answers what got no response of its own (an upgrade, a request that is no HTTP) with an error, and closes the connection. */
export function refuseConnection(socket: Duplex, error: AppError, requestId: string): void {
  const body = JSON.stringify(toErrorBody(error));
  const retryAfter = retryAfterSecondsOf(error);
  const head = [
    `HTTP/1.1 ${httpStatusOf[error.code]} Refused`,
    `x-request-id: ${requestId}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    ...(error.code === 'UNAUTHENTICATED' ? ['www-authenticate: Bearer'] : []),
    ...(retryAfter === undefined ? [] : [`retry-after: ${retryAfter}`]),
    'connection: close',
  ];
  // A client that never closes its side would keep the socket.
  socket.once('finish', () => socket.destroy());
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/** Names what Node's parser refused. */
export function toParseFault(error: Error & { code?: string }): AppError {
  if (error.code === 'HPE_HEADER_OVERFLOW') return validationFailed([{ field: 'headers', message: 'are larger than 16 KiB together' }]);
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return new AppError('VALIDATION_FAILED', 'The request did not arrive whole in time.');
  return new AppError('VALIDATION_FAILED', 'This is not an HTTP request.');
}

/** A `ws` server for upgrades that the front has looked at; its answers carry the request id that the front has set. */
export function createUpgradeServer(options: Pick<ServerOptions, 'maxPayload' | 'handleProtocols'>): WebSocketServer {
  const server = new WebSocketServer({ ...options, noServer: true, perMessageDeflate: false });
  server.on('headers', (headers, req) => void headers.push(`X-Request-Id: ${requestIdOf(req)}`));
  server.on('wsClientError', (error, socket, req) => refuseConnection(socket, new AppError('VALIDATION_FAILED', `This is not a WebSocket handshake: ${error.message}.`), requestIdOf(req)));
  return server;
}
