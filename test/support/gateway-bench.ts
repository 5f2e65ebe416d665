import OpenAI from 'openai';
import { createGuard } from '../../src/adapters/http/guard.ts';
import { createKeyWatch } from '../../src/adapters/http/key-watch.ts';
import { createOpenAi } from '../../src/adapters/openai/create-openai.ts';
import { createRequestLimiter } from '../../src/infrastructure/limits/request-limiter.ts';
import { createHttpServer } from '../../src/adapters/server.ts';
import type { Access } from '../../src/domains/access/types.ts';
import type { ChatDeps } from '../../src/domains/chat/create-chat.ts';
import type { AuditLog } from '../../src/shared/audit-log.ts';
import type { DeploymentFilter } from '../../src/domains/deployments/types.ts';
import type { Principal, Role } from '../../src/shared/principal.ts';
import { createChatWorld, principalOf, type ChatWorld } from './chat-world.ts';
import { noAudit } from './no-audit.ts';
import { silentLogger } from './silent-logger.ts';

export type GatewayBench = {
  url: string;
  port: number;
  world: ChatWorld;
  /** The official client, which does not try again by itself here. */
  client: OpenAI;
  /** A key of its own for each call. */
  keyOf(owner: string, role?: Role): string;
  principal: Principal;
  revoke(key: string): void;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  close(): Promise<void>;
};

/** `/v1` behind the real front, on chat with a real database and a scripted model server. */
export async function startGatewayBench(change: Partial<ChatDeps> = {}, { audit = noAudit, ...options }: { stalledMsMax?: number; audit?: AuditLog } = {}): Promise<GatewayBench> {
  const world = await createChatWorld(change);
  const principals = new Map<string, Principal>();
  const access: Pick<Access, 'authenticate' | 'recheck'> = {
    authenticate: async (credential) => principals.get(credential) ?? null,
    recheck: async (principal) => [...principals.values()].find(({ keyId }) => keyId === principal.keyId) ?? null,
  };
  const watch = createKeyWatch({ events: world.events, access, logger: silentLogger });
  const deployments = {
    list: async ({ ids }: DeploymentFilter) => ({ items: world.deployments().filter(({ id }) => ids?.includes(id) ?? true), nextCursor: null, total: null, cursors: [] }),
    findByName: async (name: string) => world.deployments().find((view) => view.name === name) ?? null,
  };
  const openAi = createOpenAi({ deployments, relays: world.module.relays, audit, onRevoked: watch.onRevoked, ...options });
  const server = createHttpServer({
    guard: createGuard({ host: '127.0.0.1', publicUrls: [], allowedOrigins: ['https://console.example'] }),
    authenticate: access.authenticate,
    limiter: createRequestLimiter(),
    http: openAi.http,
    upgrades: [],
    logger: silentLogger,
    observe: () => {},
  });
  const { port } = await server.listen('127.0.0.1', 0);
  const url = `http://127.0.0.1:${port}`;
  const keyOf = (owner: string, role: Role = 'USER'): string => {
    const principal = principalOf(owner, role);
    principals.set(`key-${principal.keyId}`, principal);
    return `key-${principal.keyId}`;
  };
  const key = keyOf('anna');
  return {
    url,
    port,
    world,
    client: new OpenAI({ apiKey: key, baseURL: `${url}/v1`, maxRetries: 0 }),
    keyOf,
    principal: principals.get(key)!,
    revoke(secret) {
      const principal = principals.get(secret)!;
      principals.delete(secret);
      world.events.publish('access.key_changed', principal.keyId, { keyId: principal.keyId });
    },
    post: (path, body, headers = {}) =>
      fetch(`${url}${path}`, { method: 'POST', headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers }, body: typeof body === 'string' ? body : JSON.stringify(body) }),
    async close() {
      watch.close();
      await server.close(AbortSignal.timeout(200));
      await world.close();
    },
  };
}
