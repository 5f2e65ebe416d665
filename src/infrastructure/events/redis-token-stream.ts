import { abortable } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { PushStream } from '../../shared/push-stream.ts';
import type { StreamEnd, StreamEntry, TokenStream } from '../../shared/token-stream.ts';
import type { RedisConnections } from '../redis/redis-connections.ts';
import { MemoryTokenStream, type MemoryTokenStreamOptions } from './memory-token-stream.ts';
import { TokenStreamFollower } from './token-stream-follower.ts';
import { streamKey, TokenStreamWriter, type StreamField } from './token-stream-writer.ts';

export type RedisTokenStreamOptions = { redis: RedisConnections; instanceId: string; clock: Clock; logger: Logger; memory?: Partial<MemoryTokenStreamOptions> };

/** Whoever asks whether there is a stream has the database to ask instead. */
const askTimeoutMs = 1_000;

/**
 * The TokenStream of several processes: a Redis Stream a message. The process that writes an answer holds it in memory
 * too, so that neither it nor its own readers need Redis; the others read a copy that follows the stream.
 */
export class RedisTokenStream implements TokenStream {
  readonly isShared = true;
  readonly #redis: RedisConnections;
  readonly #memory: MemoryTokenStream;
  readonly #writer: TokenStreamWriter;
  readonly #follower: TokenStreamFollower;

  constructor({ redis, instanceId, clock, logger: root, memory = {} }: RedisTokenStreamOptions) {
    const logger = root.child({ room: 'token streams' });
    this.#redis = redis;
    this.#memory = new MemoryTokenStream({ clock, ...memory });
    this.#writer = new TokenStreamWriter({ redis, memory: this.#memory, clock, logger });
    this.#follower = new TokenStreamFollower({ redis, memory: this.#memory, instanceId, logger });
  }

  append(messageId: string, text: string): number {
    this.#follower.leave(messageId);
    const index = this.#memory.append(messageId, text);
    this.#writer.mark(messageId);
    return index;
  }

  async end(messageId: string, outcome: StreamEnd['outcome']): Promise<void> {
    this.#follower.leave(messageId);
    await this.#memory.end(messageId, outcome);
    this.#writer.mark(messageId);
  }

  async abandon(messageId: string, outcome: StreamEnd['outcome']): Promise<void> {
    if (this.#writer.owns(messageId)) await this.end(messageId, outcome);
    else await this.#writer.abandon(messageId, outcome);
  }

  async pieces(messageId: string): Promise<readonly string[] | null> {
    if (this.#writer.owns(messageId)) return await this.#memory.pieces(messageId);
    const entries = (await this.#redis.commands.xrange(streamKey(this.#redis, messageId), '-', '+')) as [string, [StreamField, string]][];
    const isWhole = entries.length > 0 && entries.every(([id], place) => Number.parseInt(id, 10) === place + 1);
    return isWhole ? entries.filter(([, [field]]) => field === 't').map(([, [, text]]) => text) : null;
  }

  async has(messageId: string): Promise<boolean> {
    if (this.#memory.stored(messageId)) return true;
    try {
      return (await abortable(this.#redis.commands.exists(streamKey(this.#redis, messageId)), AbortSignal.timeout(askTimeoutMs))) === 1;
    } catch {
      return false;
    }
  }

  read(messageId: string, after: number): PushStream<StreamEntry> {
    const entries = this.#memory.read(messageId, after);
    return new PushStream(async (take, signal) => {
      const isHere = this.#writer.owns(messageId) || this.#memory.stored(messageId)?.outcome;
      const leave = isHere || signal.aborted ? null : this.#follower.follow(messageId);
      try {
        await entries.pour(take, signal);
      } finally {
        leave?.();
      }
    });
  }

  /** Resolves when Redis has everything that was appended before. */
  async flushed(): Promise<void> {
    await this.#writer.flushed();
  }

  /** Readers end; what has not reached Redis when the signal aborts never does. Before the connections are closed. */
  async close(signal: AbortSignal): Promise<void> {
    if (this.#redis.isReady) await abortable(this.#writer.flushed(), signal).catch(() => undefined);
    this.#writer.close();
    this.#follower.close();
    this.#memory.close();
  }
}
