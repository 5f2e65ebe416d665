import { RedisPubSub } from 'graphql-redis-subscriptions';
import { Redis } from 'ioredis';
import { abortable } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';
import { describeRedisUrl, redisOptionsOf } from './redis-options.ts';

export type RedisConnectionsOptions = {
  url: string;
  /** Keeps installations apart that share one Redis. */
  prefix: string;
  logger: Logger;
};

/** A connection that only listens hears nothing of a dead line; this often it is asked for a sign of life. */
const checkEveryMs = 5_000;
const checkTimeoutMs = 5_000;
/** A cache that is slower than this is of no use. */
const cacheTimeoutMs = 500;

/**
 * The connections of one process: `commands` for all short ones, `reader` for the one that blocks, one subscription
 * by graphql-redis-subscriptions, and the cache's. Each comes back by itself; commands fail while it is away.
 */
export class RedisConnections {
  readonly prefix: string;
  readonly commands: Redis;
  readonly reader: Redis;
  readonly cache: Redis;
  readonly pubsub: RedisPubSub;
  readonly #subscriber: Redis;
  readonly #logger: Logger;
  readonly #place: string;
  readonly #check: NodeJS.Timeout;
  #isAway = false;
  #isClosed = false;

  constructor({ url, prefix, logger }: RedisConnectionsOptions) {
    this.prefix = prefix;
    this.#logger = logger.child({ room: 'redis' });
    this.#place = describeRedisUrl(url);
    this.commands = new Redis(redisOptionsOf(url, 'commands'));
    this.reader = new Redis(redisOptionsOf(url, 'streams'));
    this.cache = new Redis({ ...redisOptionsOf(url, 'cache'), commandTimeout: cacheTimeoutMs });
    // Subscribing waits for the connection; there are only ever the same few channels.
    this.#subscriber = new Redis({ ...redisOptionsOf(url, 'events'), enableOfflineQueue: true, maxRetriesPerRequest: null });
    this.pubsub = new RedisPubSub({ publisher: this.commands, subscriber: this.#subscriber });
    for (const client of this.#all) client.on('error', (error: Error) => this.#logger.debug({ err: error }, 'a connection to Redis met a fault'));
    this.commands.on('close', () => this.#tellAway());
    this.commands.on('ready', () => this.#tellBack());
    this.#check = setInterval(() => void this.#checkSubscriber(), checkEveryMs).unref();
  }

  get isReady(): boolean {
    return this.commands.status === 'ready';
  }

  get #all(): Redis[] {
    return [this.commands, this.reader, this.cache, this.#subscriber];
  }

  /** Connects; one that is away again right now comes later by itself. */
  async open(): Promise<void> {
    await Promise.all(this.#all.map((client) => client.connect().catch(() => undefined)));
  }

  /**
   * Calls back whenever the subscription works again after it was lost: what was published meanwhile never came, and
   * what is published after the call does.
   */
  onResubscribed(channel: string, callback: () => void): void {
    let wasLost = false;
    this.#subscriber.on('close', () => (wasLost = true));
    this.#subscriber.on('ready', () => {
      if (!wasLost) return;
      // Its answer comes after that of ioredis' own renewal of the subscription.
      this.#subscriber.subscribe(channel).then(() => {
        wasLost = false;
        callback();
      }, () => undefined);
    });
  }

  onReady(callback: () => void): void {
    this.commands.on('ready', callback);
  }

  /** Rejects when Redis does not answer before the signal aborts. */
  async ping(signal: AbortSignal): Promise<void> {
    await abortable(this.commands.ping(), signal);
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#check);
    for (const client of this.#all) client.disconnect();
  }

  async #checkSubscriber(): Promise<void> {
    if (this.#subscriber.status !== 'ready') return;
    try {
      await abortable(this.#subscriber.ping(), AbortSignal.timeout(checkTimeoutMs));
    } catch {
      this.#subscriber.disconnect(true);
    }
  }

  #tellAway(): void {
    if (this.#isAway || this.#isClosed) return;
    this.#isAway = true;
    this.#logger.warn({ redis: this.#place }, 'Redis is away: nothing is lost, but other processes are heard of late until it is back');
  }

  #tellBack(): void {
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#logger.info({ redis: this.#place }, 'Redis is back');
  }
}
