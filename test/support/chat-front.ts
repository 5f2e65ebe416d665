import { createGraphqlEndpoint } from '../../src/adapters/graphql/create-endpoint.ts';
import type { Graphql } from '../../src/adapters/graphql/create-graphql.ts';
import { createGuard } from '../../src/adapters/http/guard.ts';
import { createKeyWatch } from '../../src/adapters/http/key-watch.ts';
import { createOpenAi } from '../../src/adapters/openai/create-openai.ts';
import { createRest } from '../../src/adapters/rest/create-rest.ts';
import { createRequestLimiter } from '../../src/infrastructure/limits/request-limiter.ts';
import { createHttpServer } from '../../src/adapters/server.ts';
import { createSockets } from '../../src/adapters/websocket/create-sockets.ts';
import type { ChatDeps } from '../../src/domains/chat/create-chat.ts';
import type { DeploymentFilter } from '../../src/domains/deployments/types.ts';
import type { Principal, Role } from '../../src/shared/principal.ts';
import { createChatWorld, principalOf, type ChatWorld } from './chat-world.ts';
import { createWorld } from './domain-doubles/doubles.ts';
import { silentLogger } from './silent-logger.ts';
import { noAudit } from './no-audit.ts';

export type Answered = { status: number; body: unknown };

export type ChatFront = {
  url: string;
  wsUrl: string;
  world: ChatWorld;
  graphql: Graphql;
  /** A new key of this owner. */
  keyOf(owner: string, role?: Role, narrowed?: Partial<Principal>): string;
  principal(key: string): Principal;
  ask(key: string, route: `${string} /${string}`, body?: unknown, headers?: Record<string, string>): Promise<Answered>;
  close(): Promise<void>;
};

/** Every way to chat behind the real front: real chat on a real database, a scripted engine, doubles of all else. */
export async function startChatFront(change: Partial<ChatDeps> = {}): Promise<ChatFront> {
  const world = await createChatWorld(change);
  const others = createWorld();
  const services = { ...others.services, chat: world.chat };
  const { principals } = others;
  const { access } = services;
  const logger = silentLogger;
  const watch = createKeyWatch({ events: world.events, access, logger });
  const authenticate = (credential: string) => access.authenticate(credential);
  const { onRevoked } = watch;
  const limiter = createRequestLimiter();
  const endpoint = createGraphqlEndpoint({ services, logger, authenticate, limiter, onRevoked });
  const { graphql } = endpoint;
  const rest = createRest({ graphql, chat: world.chat, audit: noAudit, onRevoked, version: '0.0.0' });
  const sockets = createSockets({ graphql, authenticate, limiter, onRevoked, logger });
  const deployments = {
    list: async ({ ids }: DeploymentFilter) => ({ items: world.deployments().filter(({ id }) => ids?.includes(id) ?? true), nextCursor: null, total: null, cursors: [] }),
    findByName: async (name: string) => world.deployments().find((view) => view.name === name) ?? null,
  };
  const openAi = createOpenAi({ deployments, relays: world.module.relays, audit: noAudit, onRevoked });
  const guard = createGuard({ host: '127.0.0.1', publicUrls: [], allowedOrigins: [] });
  const server = createHttpServer({ guard, authenticate, limiter, http: [...endpoint.http, ...rest.http, ...openAi.http], upgrades: [...endpoint.upgrades, ...sockets.upgrades], logger, observe: () => {} });
  const { port } = await server.listen('127.0.0.1', 0);
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    wsUrl: `ws://127.0.0.1:${port}`,
    world,
    graphql,
    keyOf(owner, role = 'USER', narrowed = {}) {
      const principal = { ...principalOf(owner, role), ...narrowed };
      principals.set(`key-${principal.keyId}`, principal);
      return `key-${principal.keyId}`;
    },
    principal: (key) => principals.get(key)!,
    async ask(key, route, body, headers = {}) {
      const [method = '', path = ''] = route.split(' ');
      const given = body === undefined ? {} : { body: JSON.stringify(body) };
      const response = await fetch(`${url}${path}`, { method, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers }, ...given });
      const text = await response.text();
      return { status: response.status, body: text === '' ? null : tryJson(text) };
    },
    async close() {
      watch.close();
      endpoint.close();
      sockets.close();
      await server.close(AbortSignal.timeout(200));
      await world.close();
    },
  };
}

function tryJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
