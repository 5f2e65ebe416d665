import { createGraphql } from '../../src/adapters/graphql/create-graphql.ts';
import { createGuard } from '../../src/adapters/http/guard.ts';
import { createKeyWatch } from '../../src/adapters/http/key-watch.ts';
import { createAuthenticate } from '../../src/adapters/http/origin.ts';
import { createRest } from '../../src/adapters/rest/create-rest.ts';
import type { ApiVersions } from '../../src/adapters/rest/versions.ts';
import { createHttpServer, type HttpServer } from '../../src/adapters/server.ts';
import { createSockets } from '../../src/adapters/websocket/create-sockets.ts';
import type { EventBus } from '../../src/shared/event-bus.ts';
import { createWorld, type World } from './domain-doubles/doubles.ts';
import { openTestLive } from './live.ts';
import { createRecordingLogger } from './recording-logger.ts';
import { RestClient } from './rest-client.ts';

export type RestBench = {
  url: string;
  wsUrl: string;
  port: number;
  world: World;
  /** Asks as ADMIN. */
  client: RestClient;
  key: string;
  events: EventBus;
  logger: ReturnType<typeof createRecordingLogger>;
  server: HttpServer;
  close(): Promise<void>;
};

type BenchOptions = { versions?: ApiVersions; world?: World; stalledMsMax?: number };

/** REST and the sockets behind the real front, with doubles of the domains behind them. */
export async function startRestBench({ versions, world = createWorld(), stalledMsMax }: BenchOptions = {}): Promise<RestBench> {
  const logger = createRecordingLogger();
  const live = await openTestLive();
  const { events } = live;
  const { access } = world.services;
  const watch = createKeyWatch({ events, access, logger });
  const authenticate = createAuthenticate(access, world.services.auditLog);
  const stalled = stalledMsMax === undefined ? {} : { stalledMsMax };
  const graphql = createGraphql({ services: world.services, logger });
  const rest = createRest({ graphql, chat: world.services.chat, audit: world.services.auditLog, onRevoked: watch.onRevoked, version: '0.0.0', ...(versions && { versions }), ...stalled });
  const sockets = createSockets({ graphql, authenticate, limiter: live.requestLimiter, onRevoked: watch.onRevoked, logger, ...stalled });
  const server = createHttpServer({
    guard: createGuard({ host: '127.0.0.1', publicUrls: [], allowedOrigins: ['https://console.example'] }),
    authenticate,
    limiter: live.requestLimiter,
    http: rest.http,
    upgrades: sockets.upgrades,
    logger,
    observe: () => {},
  });
  const { port } = await server.listen('127.0.0.1', 0);
  const url = `http://127.0.0.1:${port}`;
  const key = world.keyOf('ADMIN');
  return {
    url,
    wsUrl: `ws://127.0.0.1:${port}`,
    port,
    world,
    client: new RestClient(url, key),
    key,
    events,
    logger,
    server,
    async close() {
      watch.close();
      sockets.close();
      await server.close(AbortSignal.timeout(200));
      await live.close();
    },
  };
}
