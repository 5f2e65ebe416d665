import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { WebSocketServer, type RawData, type WebSocket } from 'ws';
import { AppError, isAppError, validationFailed } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Principal } from '../../shared/principal.ts';
import { parseJsonObject } from '../http/body.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import { refuseUpgrade, type UpgradeHandler } from '../server.ts';
import { closeCodes } from './close-codes.ts';
import { Connection } from './connection.ts';

/** A client message may be as large as a request's body. */
const frameBytesMax = 1024 * 1024;
const authTimeoutMs = 5_000;
/** A client that sends faster than its messages are handled is cut. */
const messagesInHandMax = 64;

export type SocketRoute = {
  path: string;
  /** Checks the query before the upgrade; throws AppError. */
  parseQuery: (url: URL) => unknown;
  open: (socket: OpenSocket) => void;
};

export type OpenSocket = {
  connection: Connection;
  principal: Principal;
  url: URL;
  /** Called with each message after the first `auth`; AppErrors go to the client as `error` messages. */
  onMessage: (handler: (message: Record<string, unknown>) => Promise<void>) => void;
};

export type SocketAcceptor = { handle: UpgradeHandler; close(): void };

type AcceptOptions = {
  routes: readonly SocketRoute[];
  authenticate: (credential: string) => Promise<Principal | null>;
  /** Calls back when the key behind `principal` stops being good. */
  onRevoked: (principal: Principal, signal: AbortSignal, revoked: () => void) => void;
  logger: Logger;
};

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

export function errorMessage(error: AppError, requestId: unknown): Record<string, unknown> {
  const { code, message, details } = error;
  return { type: 'error', ...(typeof requestId === 'string' && { request_id: requestId }), error: { code, message, ...(details && { details }) } };
}

class Session {
  readonly #connection: Connection;
  readonly #options: AcceptOptions;
  readonly #route: SocketRoute;
  readonly #url: URL;
  #handler: ((message: Record<string, unknown>) => Promise<void>) | null = null;
  #isOpen = false;
  #messagesInHand = 0;

  constructor(socket: WebSocket, context: { options: AcceptOptions; route: SocketRoute; url: URL; principal: Principal | null }) {
    this.#connection = new Connection(socket);
    this.#options = context.options;
    this.#route = context.route;
    this.#url = context.url;
    socket.on('message', (data, isBinary) => {
      void this.#receive(toBuffer(data), isBinary);
    });
    if (context.principal) this.#open(context.principal);
    else this.#awaitAuth();
  }

  #awaitAuth(): void {
    const timer = setTimeout(() => {
      if (!this.#isOpen) this.#connection.close(closeCodes.authTimeout, 'no auth message in time');
    }, authTimeoutMs);
    this.#connection.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  }

  #open(principal: Principal): void {
    this.#isOpen = true;
    const connection = this.#connection;
    this.#options.onRevoked(principal, connection.signal, () => connection.close(closeCodes.forbidden, 'the key is not good any more'));
    this.#route.open({ connection, principal, url: this.#url, onMessage: (handler) => (this.#handler = handler) });
  }

  async #receive(data: Buffer, isBinary: boolean): Promise<void> {
    let requestId: unknown;
    if (++this.#messagesInHand > messagesInHandMax) this.#connection.close(closeCodes.policy, 'too many messages at once');
    try {
      if (isBinary) throw validationFailed([{ field: 'body', message: 'send text, not binary' }]);
      const message = parseJsonObject(data);
      requestId = message['request_id'];
      if (!this.#isOpen) { await this.#authenticate(message); return; }
      if (!this.#handler) throw validationFailed([{ field: 'type', message: 'this socket takes no messages' }]);
      await this.#handler(message);
    } catch (error) {
      await this.#report(error, requestId);
    } finally {
      this.#messagesInHand -= 1;
    }
    return undefined;
  }

  async #authenticate(message: Record<string, unknown>): Promise<void> {
    const { type, key } = message;
    const principal = type === 'auth' && typeof key === 'string' ? await this.#options.authenticate(key) : null;
    if (this.#connection.signal.aborted || this.#isOpen) return;
    if (principal) this.#open(principal);
    else this.#connection.close(closeCodes.unauthenticated, 'the first message must be {"type":"auth","key":...} with a good key');
  }

  async #report(error: unknown, requestId: unknown): Promise<void> {
    if (this.#connection.signal.aborted) return;
    if (!isAppError(error)) this.#options.logger.error({ err: error }, 'socket message failed');
    const shown = isAppError(error) ? error : new AppError('INTERNAL', 'Something went wrong on our side.');
    if (this.#isOpen) await this.#connection.send(errorMessage(shown, requestId)).catch(() => undefined);
    else this.#connection.closeFor(shown);
  }
}

/** The `/ws/*` side of the front: checks, upgrades, authenticates, then hands over to the route. */
export function createSocketAcceptor(options: AcceptOptions): SocketAcceptor {
  const server = new WebSocketServer({ noServer: true, maxPayload: frameBytesMax, perMessageDeflate: false });
  const handle = (upgrade: { req: IncomingMessage; socket: Duplex; head: Buffer; url: URL; principal: Principal | null }): void => {
    const { req, socket, head, url, principal } = upgrade;
    const route = options.routes.find(({ path }) => url.pathname === path || url.pathname === `${path}/`);
    if (!route) return refuseUpgrade(socket, new AppError('ROUTE_NOT_FOUND', 'There is no WebSocket at this path.'));
    if (hasCredentialInUrl(url)) return refuseUpgrade(socket, validationFailed([{ field: 'key', message: 'a key is never taken from a URL' }]));
    const hasCredential = req.headers.authorization !== undefined || req.headers['x-api-key'] !== undefined;
    if (hasCredential && !principal) return refuseUpgrade(socket, new AppError('UNAUTHENTICATED', 'The key is not a good one.'));
    try {
      route.parseQuery(url);
    } catch (error) {
      return refuseUpgrade(socket, isAppError(error) ? error : new AppError('INTERNAL', 'Something went wrong on our side.'));
    }
    server.handleUpgrade(req, socket, head, (accepted) => new Session(accepted, { options, route, url, principal }));
    return undefined;
  };
  return {
    handle,
    close() {
      for (const client of server.clients) client.close(closeCodes.goingAway, 'the service is shutting down');
      server.close();
    },
  };
}
