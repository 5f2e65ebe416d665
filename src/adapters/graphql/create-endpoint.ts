import type { RequestLimiter } from '../../shared/key-limits.ts';
import type { Logger } from '../../shared/logger.ts';
import type { OnRevoked } from '../http/key-watch.ts';
import type { Authenticate } from '../http/origin.ts';
import type { HttpMount, UpgradeMount } from '../server.ts';
import type { GraphqlServices } from './context.ts';
import { createGraphql, type Graphql } from './create-graphql.ts';
import { createGraphiqlPage } from './graphiql.ts';
import { graphiqlTabs } from './graphiql-tabs.ts';
import { createGraphqlHandler, sendFrontError } from './http.ts';
import type { GraphqlLimits } from './limits.ts';
import { createGraphqlSockets, type GraphqlSocketLimits } from './websocket.ts';

export type GraphqlEndpointOptions = {
  services: GraphqlServices;
  logger: Logger;
  authenticate: Authenticate;
  limiter: RequestLimiter;
  onRevoked: OnRevoked;
  limits?: Partial<GraphqlLimits>;
  socketLimits?: Partial<GraphqlSocketLimits>;
};

export type GraphqlEndpoint = {
  /** For adapters that run operation documents. */
  graphql: Graphql;
  http: readonly HttpMount[];
  upgrades: readonly UpgradeMount[];
  /** Closes the sockets; the front ends what runs over HTTP. */
  close(): void;
};

/** `/graphql` on every transport: HTTP, server-sent events, WebSocket and the page for browsers. */
export function createGraphqlEndpoint({ services, logger, authenticate, limiter, onRevoked, limits, socketLimits }: GraphqlEndpointOptions): GraphqlEndpoint {
  const graphql = createGraphql({ services, logger, ...(limits ? { limits } : {}) });
  const sockets = createGraphqlSockets({ graphql, authenticate, limiter, onRevoked, logger, ...(socketLimits ? { limits: socketLimits } : {}) });
  return {
    graphql,
    http: [{ prefix: '/graphql', handle: createGraphqlHandler({ graphql, page: createGraphiqlPage(graphiqlTabs), onRevoked }), sendError: sendFrontError }],
    upgrades: [{ prefix: '/graphql', handle: sockets.handle }],
    close: () => sockets.close(),
  };
}
