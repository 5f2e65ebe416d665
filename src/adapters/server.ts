import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { isAbort, StopReason } from '../shared/abort.ts';
import { AppError, isAppError } from '../shared/errors.ts';
import type { RequestLimiter } from '../shared/key-limits.ts';
import type { Logger } from '../shared/logger.ts';
import type { Principal } from '../shared/principal.ts';
import { discardBody } from './http/body.ts';
import { credentialOf } from './http/credential.ts';
import { maskedError, sendError, sendJson } from './http/error-response.ts';
import type { Exchange, ExchangeHandler } from './http/exchange.ts';
import type { Guard } from './http/guard.ts';
import { originOf, type Authenticate } from './http/origin.ts';
import { refuseConnection, requestIdOf, toParseFault } from './http/upgrade.ts';

/** Routes by the first segment of the path; the longest matching prefix wins. */
export type HttpMount = {
  prefix: string;
  handle: ExchangeHandler;
  /** On every answer below the prefix, also on those that never reach `handle`. */
  headers?: Readonly<Record<string, string>>;
  /** Answers what went wrong before or within `handle` in another shape than ours. */
  sendError?: (res: ServerResponse, error: AppError) => void;
};
export type UpgradeHandler = (upgrade: { req: IncomingMessage; socket: Duplex; head: Buffer; url: URL; principal: Principal | null }) => void;
export type UpgradeMount = { prefix: string; handle: UpgradeHandler };

export type HttpObserver = (route: string, method: string, status: number, durationSeconds: number) => void;

export type ServerOptions = {
  guard: Guard;
  authenticate: Authenticate;
  limiter: RequestLimiter;
  http: readonly HttpMount[];
  upgrades: readonly UpgradeMount[];
  logger: Logger;
  observe: HttpObserver;
};

export type HttpServer = {
  /** Port 0 = any free one. Rejects with the system's error when the address is taken. */
  listen(host: string, port: number): Promise<{ host: string; port: number }>;
  /** From now on new requests get SHUTTING_DOWN; running ones go on. */
  drain(): void;
  /** Waits for running requests until the signal aborts, then cuts what is left. */
  close(signal: AbortSignal): Promise<void>;
};

/** A browser's preflight answer may be kept this long. */
const preflightMaxAgeSeconds = 600;

function parseTarget(req: IncomingMessage): URL {
  const url = URL.parse(req.url ?? '/', 'http://service.invalid');
  // An absolute-form or `//host` target would move the host part: neither is ours to serve.
  if (url?.host !== 'service.invalid') throw new AppError('VALIDATION_FAILED', 'The request target is not a path.');
  return url;
}

function mountOf<M extends { prefix: string }>(mounts: readonly M[], pathname: string): M | undefined {
  return mounts.find(({ prefix }) => pathname === prefix || pathname.startsWith(prefix.endsWith('/') ? prefix : `${prefix}/`));
}

function callerSignal(res: ServerResponse): AbortSignal {
  const gone = new AbortController();
  res.once('close', () => {
    if (!res.writableFinished) gone.abort(new StopReason('caller_gone'));
  });
  return gone.signal;
}

const allowedHeaders = ['Authorization', 'Content-Type', 'X-API-Key', 'X-Request-Id', 'X-Chat-Session-Id', 'Last-Event-ID', 'Idempotency-Key'];
const clientHeaderPattern = /^x-stainless-[a-z-]{1,40}$/;

/** OpenAI's own client tells about itself in headers of its own, in a browser too. */
function clientHeaders(req: IncomingMessage): string[] {
  const asked = (req.headers['access-control-request-headers'] ?? '').split(',').map((name) => name.trim().toLowerCase());
  return asked.filter((name) => clientHeaderPattern.test(name));
}

/** Headers that let an allowed foreign page read the answer; answers true when the request was only the preflight. */
function answerCors(req: IncomingMessage, res: ServerResponse, origin: string | null): boolean {
  res.setHeader('vary', 'Origin');
  if (origin !== null) {
    res.setHeader('access-control-allow-origin', origin);
    res.setHeader('access-control-expose-headers', 'API-Version, X-Request-Id, X-Chat-Session-Id, Content-Disposition, Retry-After, Deprecation, Sunset');
  }
  if (req.method !== 'OPTIONS' || req.headers['access-control-request-method'] === undefined) return false;
  if (origin !== null) {
    res.setHeader('access-control-allow-methods', 'GET, POST, PUT, DELETE');
    res.setHeader('access-control-allow-headers', [...allowedHeaders, ...clientHeaders(req)].join(', '));
    res.setHeader('access-control-max-age', preflightMaxAgeSeconds);
  }
  res.writeHead(204).end();
  return true;
}

class Front {
  readonly #options: ServerOptions;
  readonly #mounts: readonly HttpMount[];
  readonly #upgrades: readonly UpgradeMount[];
  draining = false;

  constructor(options: ServerOptions) {
    this.#options = options;
    const byLength = (a: { prefix: string }, b: { prefix: string }): number => b.prefix.length - a.prefix.length;
    this.#mounts = [...options.http].sort(byLength);
    this.#upgrades = [...options.upgrades].sort(byLength);
  }

  async handle(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const requestId = requestIdOf(req);
    // Whoever answers finds the same one there.
    req.headers['x-request-id'] = requestId;
    const logger = this.#options.logger.child({ requestId });
    res.setHeader('x-request-id', requestId);
    res.setHeader('x-content-type-options', 'nosniff');
    // A reset connection is the client's business; without a listener it would end the process.
    req.on('error', () => undefined);
    res.on('error', () => undefined);
    const startedAt = performance.now();
    let route = 'none';
    let mount: HttpMount | undefined;
    res.once('close', () => this.#options.observe(route, req.method ?? '', res.statusCode, (performance.now() - startedAt) / 1000));
    try {
      const url = parseTarget(req);
      mount = mountOf(this.#mounts, url.pathname);
      for (const [name, value] of Object.entries(mount?.headers ?? {})) res.setHeader(name, value);
      if (url.pathname === '/health') {
        route = '/health';
        sendJson(res, 200, { status: 'ok' });
        return;
      }
      this.#options.guard.checkHost(req);
      if (answerCors(req, res, this.#options.guard.checkOrigin(req))) return;
      if (!mount) throw new AppError('ROUTE_NOT_FOUND', 'There is nothing at this path.');
      route = mount.prefix;
      if (this.draining && mount.prefix !== '/ready') throw new AppError('SHUTTING_DOWN', 'The service is shutting down.');
      const principal = await this.#principal(req);
      if (principal) await this.#options.limiter.take(principal);
      await mount.handle({ req, res, url, requestId, logger, principal, signal: callerSignal(res) });
    } catch (error) {
      await this.#fail(error, { req, res, requestId, logger }, mount?.sendError ?? sendError);
    }
  }

  async #fail(error: unknown, context: Pick<Exchange, 'req' | 'res' | 'requestId' | 'logger'>, send: (res: ServerResponse, error: AppError) => void): Promise<void> {
    const { req, res, requestId, logger } = context;
    if (isAbort(error) && (res.destroyed || req.destroyed)) return;
    if (!isAppError(error)) logger.error({ err: error, method: req.method }, 'request failed');
    if (!res.headersSent) await discardBody(req, res);
    send(res, isAppError(error) ? error : maskedError(requestId));
  }

  async #principal(req: IncomingMessage): Promise<Principal | null> {
    const credential = credentialOf(req.headers);
    return credential === null ? null : await this.#options.authenticate(credential, originOf(req));
  }

  async upgrade(req: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => undefined);
    const requestId = requestIdOf(req);
    // Whoever answers the upgrade in the end finds it here.
    req.headers['x-request-id'] = requestId;
    try {
      const url = parseTarget(req);
      this.#options.guard.checkHost(req);
      this.#options.guard.checkOrigin(req);
      if (this.draining) throw new AppError('SHUTTING_DOWN', 'The service is shutting down.');
      const mount = mountOf(this.#upgrades, url.pathname);
      if (!mount) throw new AppError('ROUTE_NOT_FOUND', 'There is no WebSocket at this path.');
      const principal = await this.#principal(req);
      if (principal) await this.#options.limiter.take(principal);
      mount.handle({ req, socket, head, url, principal });
    } catch (error) {
      if (!isAppError(error)) this.#options.logger.error({ err: error }, 'upgrade failed');
      refuseConnection(socket, isAppError(error) ? error : maskedError(requestId), requestId);
    }
  }
}

/** Other protocols are offered, not demanded (`h2c`): such a request is served as the plain one it is. */
function wantsWebSocket(req: IncomingMessage): boolean {
  return req.headers.upgrade?.toLowerCase() === 'websocket';
}

/**
 * Longer than proxies and clients keep a connection that rests, usually 60 s: who closes first must be the one who
 * would send next, or a request meets a socket that is just being closed.
 */
const keepAliveTimeoutMs = 65_000;
/** How often connections are closed that have come to rest since the server was told to close. */
const sweepMs = 50;

function createNodeServer(front: Front): Server {
  const limits = { headersTimeout: 10_000, requestTimeout: 30_000, keepAliveTimeout: keepAliveTimeoutMs, maxHeaderSize: 16 * 1024, shouldUpgradeCallback: wantsWebSocket };
  const server = createServer(limits, (req, res) => {
    void front.handle(req, res);
  });
  server.on('upgrade', (req, socket, head) => {
    void front.upgrade(req, socket, head);
  });
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    if (socket.writable) refuseConnection(socket, toParseFault(error), randomUUID());
  });
  return server;
}

export function createHttpServer(options: ServerOptions): HttpServer {
  const front = new Front(options);
  const server = createNodeServer(front);
  return {
    async listen(host, port) {
      const { promise, resolve, reject } = Promise.withResolvers<undefined>();
      server.once('error', reject);
      server.listen({ host, port }, () => resolve(undefined));
      await promise;
      server.off('error', reject);
      // The cast holds: a server that listens on host and port has an AddressInfo.
      const address = server.address() as AddressInfo;
      return { host, port: address.port };
    },
    drain() {
      front.draining = true;
    },
    async close(signal) {
      const { promise, resolve } = Promise.withResolvers<undefined>();
      server.close(() => resolve(undefined));
      server.closeIdleConnections();
      const sweep = setInterval(() => server.closeIdleConnections(), sweepMs);
      const cut = (): void => server.closeAllConnections();
      if (signal.aborted) cut();
      else signal.addEventListener('abort', cut, { once: true });
      await promise;
      clearInterval(sweep);
      signal.removeEventListener('abort', cut);
    },
  };
}
