import type { RedisOptions } from 'ioredis';

const connectTimeoutMs = 3_000;
const keepAliveMs = 10_000;
const retryMsMin = 100;
/** Subscribers have the present state within 2 s of Redis' return. */
const retryMsMax = 1_000;

/**
 * Options of every connection. A command fails at once while there is no connection, and with the connection that it
 * was sent on: nothing is queued for later, because whoever sends knows best what is still worth sending then.
 */
export function redisOptionsOf(url: string, name: string): RedisOptions {
  return {
    ...addressOf(new URL(url)),
    connectionName: `llm-manager ${name}`,
    lazyConnect: true,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    connectTimeout: connectTimeoutMs,
    keepAlive: keepAliveMs,
    retryStrategy: (attempt) => Math.min(retryMsMax, retryMsMin * 2 ** Math.min(attempt, 10)),
  };
}

function addressOf(url: URL): RedisOptions {
  const { username, password } = url;
  const isSocket = url.protocol === 'unix:';
  const database = isSocket ? (url.searchParams.get('db') ?? '') : url.pathname.slice(1);
  return {
    ...(isSocket ? { path: decodeURIComponent(url.pathname) } : { host: url.hostname.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(url.port || 6379) }),
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
    ...(database === '' ? {} : { db: Number(database) }),
    ...(url.protocol === 'rediss:' ? { tls: {} } : {}),
  };
}

/** Where it is, without its password. */
export function describeRedisUrl(value: string): string {
  const { protocol, hostname, port, pathname } = new URL(value);
  return protocol === 'unix:' ? pathname : `${hostname}:${port || '6379'}${pathname === '/' ? '' : pathname}`;
}
