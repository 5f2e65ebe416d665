import { createGate, sleep, type Gate } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';
import type { StreamEnd } from '../../shared/token-stream.ts';
import type { RedisConnections } from '../redis/redis-connections.ts';
import type { MemoryTokenStream } from './memory-token-stream.ts';
import { streamKey, type StreamField } from './token-stream-writer.ts';

type StreamReply = [key: string, entries: [id: string, fields: [StreamField, string]][]][] | null;

export type TokenStreamFollowerOptions = {
  redis: RedisConnections;
  memory: MemoryTokenStream;
  /** Of this process. */
  instanceId: string;
  logger: Logger;
};

const blockMs = 5_000;
/** A reply is due after `blockMs`; a line that is dead by then is made anew. */
const replyTimeoutMs = blockMs + 5_000;
const entriesAtOnce = 512;
const retryPauseMs = 250;
const wakeKeyLifeSeconds = 60;
/** A reader that comes back at once finds the copy still there. */
const keepUnreadMs = 10_000;

type Followed = { readers: number; unread: NodeJS.Timeout | undefined };

/**
 * Copies the streams that other processes write from Redis into memory, as long as they have readers here. One
 * connection blocks on all of them; a key of our own among them wakes it when another stream is to be followed.
 */
export class TokenStreamFollower {
  readonly #options: TokenStreamFollowerOptions;
  readonly #wakeKey: string;
  readonly #followed = new Map<string, Followed>();
  readonly #closing = new AbortController();
  #wakeId = '0-0';
  #work: Gate = createGate();
  #running: Promise<void> | null = null;

  constructor(options: TokenStreamFollowerOptions) {
    this.#options = options;
    this.#wakeKey = `${options.redis.prefix}:wake:${options.instanceId}`;
  }

  /** Copies the stream until the returned function has been called as often as this one. */
  follow(messageId: string): () => void {
    const followed = this.#followed.get(messageId) ?? { readers: 0, unread: undefined };
    const isNew = !this.#followed.has(messageId);
    this.#followed.set(messageId, followed);
    clearTimeout(followed.unread);
    followed.readers += 1;
    if (isNew) this.#wake();
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      followed.readers -= 1;
      if (followed.readers === 0) followed.unread = setTimeout(() => this.#drop(messageId), keepUnreadMs).unref();
    };
  }

  /** This process writes the stream itself from now on. */
  leave(messageId: string): void {
    clearTimeout(this.#followed.get(messageId)?.unread);
    this.#followed.delete(messageId);
  }

  close(): void {
    this.#closing.abort();
    this.#work.open();
    for (const { unread } of this.#followed.values()) clearTimeout(unread);
    this.#followed.clear();
  }

  #wake(): void {
    const { redis } = this.#options;
    this.#running ??= this.#run();
    this.#work.open();
    if (!redis.isReady) return;
    const { commands } = redis;
    commands.xadd(this.#wakeKey, 'MAXLEN', 1, '*', 'w', '').then(() => commands.expire(this.#wakeKey, wakeKeyLifeSeconds)).catch(() => undefined);
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      if (this.#followed.size === 0) {
        this.#work = createGate();
        await this.#work.opened;
        continue;
      }
      try {
        this.#take(await this.#read());
      } catch (err) {
        this.#options.logger.debug({ err }, 'answers of other processes could not be read; trying again');
        await sleep(retryPauseMs, signal).catch(() => undefined);
      }
    }
  }

  async #read(): Promise<StreamReply> {
    const { redis, memory } = this.#options;
    const ids = [...this.#followed.keys()];
    const keys = ids.map((id) => streamKey(redis, id));
    const positions = ids.map((id) => `${memory.stored(id)?.pieces.length ?? 0}-0`);
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      reject(new Error('Redis does not answer'));
      redis.reader.disconnect(true);
    }, replyTimeoutMs);
    const reply = redis.reader.xread('COUNT', entriesAtOnce, 'BLOCK', blockMs, 'STREAMS', this.#wakeKey, ...keys, this.#wakeId, ...positions) as Promise<StreamReply>;
    reply.catch(() => undefined);
    try {
      return await Promise.race([reply, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #take(reply: StreamReply): void {
    for (const [key, entries] of reply ?? []) {
      if (key === this.#wakeKey) {
        this.#wakeId = entries.at(-1)?.[0] ?? this.#wakeId;
        continue;
      }
      const messageId = key.slice(key.lastIndexOf(':') + 1);
      if (this.#followed.has(messageId)) this.#copy(messageId, entries);
    }
  }

  #copy(messageId: string, entries: readonly [string, [StreamField, string]][]): void {
    const { memory, logger } = this.#options;
    try {
      for (const [id, [field, text]] of entries) {
        const place = Number.parseInt(id, 10);
        // Trimmed or written anew in between: readers go on with what the database has.
        if (place !== (memory.stored(messageId)?.pieces.length ?? 0) + 1) throw new Error(`entry ${id} is not the next one`);
        if (field === 't') void memory.append(messageId, text);
        else this.#end(messageId, text);
      }
    } catch (err) {
      logger.warn({ err, messageId }, 'the answer of another process is not followed any more');
      this.#drop(messageId);
    }
  }

  #end(messageId: string, text: string): void {
    const { memory } = this.#options;
    // Written by this program only.
    void memory.end(messageId, JSON.parse(text) as StreamEnd['outcome']);
    this.leave(messageId);
  }

  #drop(messageId: string): void {
    this.leave(messageId);
    this.#options.memory.forget(messageId);
  }
}
