import type { RedisConnections } from '../redis/redis-connections.ts';

/** JSON-safe, as the library's own messages are. */
type Message = unknown;
type Handler = (message: never) => void | Promise<void>;

/**
 * How caches of several processes tell each other what has changed: bentocache's bus over the one subscription that
 * the process has anyway.
 */
export class CacheTransport {
  readonly #redis: RedisConnections;
  readonly #subscriptions = new Map<string, Promise<number>>();
  #id = '';

  constructor(redis: RedisConnections) {
    this.#redis = redis;
  }

  setId(id: string): this {
    this.#id = id;
    return this;
  }

  /** What was missed meanwhile may be stale here for as long as the entry's own time. */
  onReconnect(_callback: () => void): void {}

  async publish(channel: string, message: Message): Promise<void> {
    await this.#redis.pubsub.publish(this.#channel(channel), { from: this.#id, message });
  }

  async subscribe(channel: string, handler: Handler): Promise<void> {
    const receive = ({ from, message }: { from: string; message: never }): void => {
      if (from !== this.#id) void handler(message);
    };
    const subscribed = this.#redis.pubsub.subscribe(this.#channel(channel), receive);
    this.#subscriptions.set(channel, subscribed);
    await subscribed;
  }

  async unsubscribe(channel: string): Promise<void> {
    const subscribed = this.#subscriptions.get(channel);
    this.#subscriptions.delete(channel);
    if (subscribed) this.#redis.pubsub.unsubscribe(await subscribed);
  }

  /** The connections are closed by whoever opened them. */
  disconnect(): Promise<void> {
    return Promise.resolve();
  }

  #channel(channel: string): string {
    return `${this.#redis.prefix}:cache:${channel}`;
  }
}
