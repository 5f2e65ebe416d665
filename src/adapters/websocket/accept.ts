import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import { StopReason } from '../../shared/abort.ts';
import type { RequestOrigin } from '../../shared/audit-log.ts';
import { AppError, isAppError, validationFailed } from '../../shared/errors.ts';
import type { RequestLimiter } from '../../shared/key-limits.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Principal } from '../../shared/principal.ts';
import { parseJsonObject } from '../http/body.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import { originOf, type Authenticate } from '../http/origin.ts';
import { createUpgradeServer, refuseConnection, requestIdOf } from '../http/upgrade.ts';
import type { UpgradeHandler } from '../server.ts';
import { closeCodes } from './close-codes.ts';
import { Connection } from './connection.ts';
import { errorMessage } from './error-message.ts';

/** A client message may be as large as a request's body. */
const frameBytesMax = 1024 * 1024;
const authTimeoutMs = 5_000;
/** A client that sends faster than its messages are handled is cut. */
const messagesInHandMax = 64;
/** Sockets of all callers together; each holds a little memory even when idle. */
const socketsMax = 12_000;

type Caller = { principal: Principal; signal: AbortSignal } & RequestOrigin;

export type SocketRoute = {
  path: string;
  /** Looks at the query before anything else; throws AppError. */
  checkQuery: (url: URL) => void;
  /** Whether this caller may open it; throws AppError, which refuses the upgrade, or closes a socket that is open. */
  admit?: (caller: Caller, url: URL) => Promise<void>;
  /** When it rejects, the client is told why and the socket closes. */
  open: (socket: OpenSocket) => void | Promise<void>;
};

export type OpenSocket = {
  connection: Connection;
  caller: Caller;
  url: URL;
  logger: Logger;
  /** Called with each message after the first `auth`; AppErrors go to the client as `error` messages. */
  onMessage: (handler: (message: Record<string, unknown>) => Promise<void>) => void;
};

export type SocketAcceptor = { handle: UpgradeHandler; close(): void };

export type AcceptOptions = {
  routes: readonly SocketRoute[];
  authenticate: Authenticate;
  limiter: RequestLimiter;
  onRevoked: OnRevoked;
  logger: Logger;
  /** A client that takes nothing for so long is cut. */
  stalledMsMax?: number | undefined;
};

type Upgrade = Parameters<UpgradeHandler>[0];
type SessionContext = { options: AcceptOptions; route: SocketRoute; carrier: Duplex; url: URL; principal: Principal | null; origin: RequestOrigin };

export function internalError(): AppError {
  return new AppError('INTERNAL', 'Something went wrong on our side.');
}

function toBuffer(data: RawData): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

class Session {
  readonly #connection: Connection;
  readonly #context: SessionContext;
  #handler: ((message: Record<string, unknown>) => Promise<void>) | null = null;
  /** Set when it is open. */
  #principal: Principal | null = null;
  #isOpen = false;
  /** Settles when the first message has been judged; later ones wait for it. */
  #authenticated: Promise<void> | null = null;
  #messagesInHand = 0;

  constructor(socket: WebSocket, context: SessionContext) {
    this.#connection = new Connection(socket, context.carrier, context.options.stalledMsMax);
    this.#context = context;
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

  #caller(principal: Principal): Caller {
    return { principal, ...this.#context.origin, signal: this.#connection.signal };
  }

  #open(principal: Principal): void {
    this.#isOpen = true;
    this.#principal = principal;
    const connection = this.#connection;
    const { options, route, url } = this.#context;
    options.onRevoked(principal, connection.signal, () => connection.close(closeCodes.forbidden, 'the key is not good any more'));
    const logger = options.logger.child({ requestId: this.#context.origin.requestId });
    const socket: OpenSocket = { connection, caller: this.#caller(principal), url, logger, onMessage: (handler) => (this.#handler = handler) };
    void this.#serve(async () => await route.open(socket));
  }

  /** What fails here ends the socket. */
  async #serve(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (this.#connection.signal.aborted) return;
      await this.#report(error, null);
      this.#connection.closeFor(isAppError(error) ? error : internalError());
    }
  }

  async #receive(data: Buffer, isBinary: boolean): Promise<void> {
    if (this.#messagesInHand >= messagesInHandMax) {
      this.#connection.close(closeCodes.policy, 'too many messages at once');
      return;
    }
    this.#messagesInHand += 1;
    let requestId: unknown;
    try {
      if (isBinary) throw validationFailed([{ field: 'body', message: 'send text, not binary' }]);
      const message = parseJsonObject(data);
      requestId = message['request_id'];
      if (await this.#isForAuthentication(message)) return;
      if (this.#principal) await this.#context.options.limiter.take(this.#principal);
      if (!this.#handler) throw validationFailed([{ field: 'type', message: 'this socket takes no messages' }]);
      await this.#handler(message);
    } catch (error) {
      if (this.#isOpen) await this.#report(error, requestId);
      else this.#connection.closeFor(isAppError(error) ? error : internalError());
    } finally {
      this.#messagesInHand -= 1;
    }
  }

  /** True for the first message of a socket without a key, and for everything that follows a bad one. */
  async #isForAuthentication(message: Record<string, unknown>): Promise<boolean> {
    if (this.#isOpen) return false;
    if (!this.#authenticated) {
      this.#authenticated = this.#authenticate(message);
      await this.#authenticated;
      return true;
    }
    // Sent right behind the key, without waiting for an answer that there is none of.
    await this.#authenticated;
    return !this.#isOpen;
  }

  async #authenticate(message: Record<string, unknown>): Promise<void> {
    const { type, key } = message;
    const { options, route, url } = this.#context;
    const principal = type === 'auth' && typeof key === 'string' ? await options.authenticate(key, this.#context.origin) : null;
    if (this.#connection.signal.aborted) return;
    if (!principal) {
      this.#connection.close(closeCodes.unauthenticated, 'the first message must be {"type":"auth","key":...} with a good key');
      return;
    }
    await this.#serve(async () => {
      await options.limiter.take(principal);
      await route.admit?.(this.#caller(principal), url);
      if (!this.#connection.signal.aborted) this.#open(principal);
    });
  }

  async #report(error: unknown, requestId: unknown): Promise<void> {
    if (this.#connection.signal.aborted) return;
    if (!isAppError(error)) this.#context.options.logger.error({ err: error, requestId: this.#context.origin.requestId }, 'socket message failed');
    const shown = isAppError(error) ? error : internalError();
    await this.#connection.tell(errorMessage(shown, { requestId: typeof requestId === 'string' ? requestId : null }));
  }
}

/** Throws AppError for an upgrade that is refused before it happens. */
async function check({ req, socket, url, principal }: Upgrade, route: SocketRoute | undefined): Promise<SocketRoute> {
  const hasCredential = req.headers.authorization !== undefined || req.headers['x-api-key'] !== undefined;
  if (hasCredential && !principal) throw new AppError('UNAUTHENTICATED', 'The key is not a good one.');
  if (!route) throw new AppError('ROUTE_NOT_FOUND', 'There is no WebSocket at this path.');
  if (hasCredentialInUrl(url)) throw validationFailed([{ field: 'query', message: 'a key is never taken from a URL' }]);
  route.checkQuery(url);
  if (principal && route.admit) await route.admit({ principal, ...originOf(req), signal: closeSignal(socket) }, url);
  return route;
}

function closeSignal(socket: Duplex): AbortSignal {
  const closed = new AbortController();
  socket.once('close', () => closed.abort(new StopReason('caller_gone')));
  return closed.signal;
}

/** The `/ws/*` side of the front: checks, upgrades, authenticates, then hands over to the route. */
export function createSocketAcceptor(options: AcceptOptions): SocketAcceptor {
  const server = createUpgradeServer({ maxPayload: frameBytesMax });
  const accept = async (upgrade: Upgrade): Promise<void> => {
    const { req, socket, head, url, principal } = upgrade;
    try {
      if (server.clients.size >= socketsMax) throw new AppError('OVERLOADED', 'Too many sockets are open.');
      const route = await check(upgrade, options.routes.find(({ path }) => url.pathname === path || url.pathname === `${path}/`));
      server.handleUpgrade(req, socket, head, (accepted) => new Session(accepted, { options, route, carrier: socket, url, principal, origin: originOf(req) }));
    } catch (error) {
      if (!isAppError(error)) options.logger.error({ err: error }, 'upgrade failed');
      refuseConnection(socket, isAppError(error) ? error : internalError(), requestIdOf(req));
    }
  };
  return {
    handle: (upgrade) => void accept(upgrade),
    close() {
      for (const client of server.clients) client.close(closeCodes.goingAway, 'the service is shutting down');
      server.close();
    },
  };
}
