import type { GraphqlEndpoint } from '../../src/adapters/graphql/create-endpoint.ts';
import { createGraphqlEndpoint } from '../../src/adapters/graphql/create-endpoint.ts';
import type { GraphqlSocketLimits } from '../../src/adapters/graphql/websocket.ts';
import { createGuard } from '../../src/adapters/http/guard.ts';
import { createKeyWatch } from '../../src/adapters/http/key-watch.ts';
import { createAuthenticate } from '../../src/adapters/http/origin.ts';
import { createHttpServer } from '../../src/adapters/server.ts';
import type { EventBus } from '../../src/shared/event-bus.ts';
import { createWorld, type World } from './domain-doubles/doubles.ts';
import { openTestLive } from './live.ts';
import { createRecordingLogger } from './recording-logger.ts';

export type GraphqlAnswer = { status: number; headers: Headers; body: { data?: Record<string, unknown> | null; errors?: WireError[] } };
export type WireError = { message: string; path?: (string | number)[]; extensions: { code: string; requestId: string; details?: Record<string, unknown> } };

export type GraphqlBench = {
  url: string;
  wsUrl: string;
  world: World;
  endpoint: GraphqlEndpoint;
  events: EventBus;
  logger: ReturnType<typeof createRecordingLogger>;
  /** Asks as ADMIN unless another key is given; null = none. */
  ask(query: string, variables?: Record<string, unknown>, key?: string | null): Promise<GraphqlAnswer>;
  post(body: string, headers: Record<string, string>): Promise<Response>;
  close(): Promise<void>;
};

/** The endpoint behind the real front, with doubles of the domains behind it. */
export async function startGraphqlBench(socketLimits: Partial<GraphqlSocketLimits> = {}): Promise<GraphqlBench> {
  const world = createWorld();
  const logger = createRecordingLogger();
  const live = await openTestLive();
  const { events } = live;
  const { access } = world.services;
  const watch = createKeyWatch({ events, access, logger });
  const authenticate = createAuthenticate(access, world.services.auditLog);
  const endpoint = createGraphqlEndpoint({ services: world.services, logger, authenticate, limiter: live.requestLimiter, onRevoked: watch.onRevoked, socketLimits });
  const server = createHttpServer({
    guard: createGuard({ host: '127.0.0.1', publicUrls: [], allowedOrigins: [] }),
    authenticate,
    limiter: live.requestLimiter,
    http: endpoint.http,
    upgrades: endpoint.upgrades,
    logger,
    observe: () => {},
  });
  const { port } = await server.listen('127.0.0.1', 0);
  const url = `http://127.0.0.1:${port}/graphql`;
  const post = (body: string, headers: Record<string, string>) => fetch(url, { method: 'POST', body, headers });
  return {
    url,
    wsUrl: `ws://127.0.0.1:${port}/graphql`,
    world,
    endpoint,
    events,
    logger,
    post,
    async ask(query, variables = {}, key = world.keyOf('ADMIN')) {
      const headers = { 'content-type': 'application/json', ...(key === null ? {} : { authorization: `Bearer ${key}` }) };
      const response = await post(JSON.stringify({ query, variables }), headers);
      return { status: response.status, headers: response.headers, body: (await response.json()) as GraphqlAnswer['body'] };
    },
    async close() {
      watch.close();
      endpoint.close();
      await server.close(AbortSignal.timeout(500));
      await live.close();
    },
  };
}
