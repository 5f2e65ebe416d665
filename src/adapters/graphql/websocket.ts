import { handleProtocols } from 'graphql-ws';
import type { WebSocket } from 'ws';
import { AppError, validationFailed } from '../../shared/errors.ts';
import type { RequestLimiter } from '../../shared/key-limits.ts';
import type { Logger } from '../../shared/logger.ts';
import { hasCredentialInUrl } from '../http/credential.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import { originOf, type Authenticate } from '../http/origin.ts';
import { createUpgradeServer, refuseConnection, requestIdOf } from '../http/upgrade.ts';
import type { UpgradeHandler } from '../server.ts';
import type { Graphql } from './create-graphql.ts';
import { createProtocol } from './websocket-protocol.ts';
import { SocketChannel } from './websocket-channel.ts';

export type GraphqlSocketLimits = {
  /** Sockets of all callers together. */
  socketsMax: number;
  /** Operations that one socket runs at once. */
  operationsMax: number;
  /** A message that the client did not take within this time ends its socket. */
  stalledMsMax: number;
  /** Time for `connection_init`. */
  initMsMax: number;
};

export const defaultSocketLimits: GraphqlSocketLimits = { socketsMax: 12_000, operationsMax: 100, stalledMsMax: 45_000, initMsMax: 5_000 };

export type GraphqlSocketOptions = {
  graphql: Graphql;
  authenticate: Authenticate;
  limiter: RequestLimiter;
  onRevoked: OnRevoked;
  logger: Logger;
  limits?: Partial<GraphqlSocketLimits>;
};

type Upgrade = Parameters<UpgradeHandler>[0];

export type GraphqlSockets = { handle: UpgradeHandler; /** Tells every client to come back later. */ close(): void };

/** What a request body may have, too. */
const frameBytesMax = 1024 * 1024;
const goingAway = 1001;

/** Serves `graphql-transport-ws` on upgrades that the front has checked. */
export function createGraphqlSockets(options: GraphqlSocketOptions): GraphqlSockets {
  const limits = { ...defaultSocketLimits, ...options.limits };
  const protocol = createProtocol({ ...options, limits });
  const server = createUpgradeServer({ maxPayload: frameBytesMax, handleProtocols });

  const open = (socket: WebSocket, { req, socket: connection, principal }: Pick<Upgrade, 'req' | 'socket' | 'principal'>): void => {
    const channel = new SocketChannel({ socket, connection }, limits.stalledMsMax, options.logger);
    const hasCredential = req.headers.authorization !== undefined || req.headers['x-api-key'] !== undefined;
    channel.serve(protocol, { channel, principal, origin: originOf(req), isRefused: hasCredential && principal === null });
  };

  const handle = ({ req, socket, head, url, principal }: Upgrade): void => {
    const refuse = (error: AppError): void => refuseConnection(socket, error, requestIdOf(req));
    if (url.pathname !== '/graphql' && url.pathname !== '/graphql/') return refuse(new AppError('ROUTE_NOT_FOUND', 'There is no WebSocket at this path.'));
    if (hasCredentialInUrl(url)) return refuse(validationFailed([{ field: 'query', message: 'a key is never taken from a URL' }]));
    if (server.clients.size >= limits.socketsMax) return refuse(new AppError('OVERLOADED', 'Too many sockets are open.'));
    server.handleUpgrade(req, socket, head, (accepted) => open(accepted, { req, socket, principal }));
    return undefined;
  };

  return {
    handle,
    close() {
      for (const client of server.clients) client.close(goingAway, 'the service is shutting down');
      server.close();
    },
  };
}

