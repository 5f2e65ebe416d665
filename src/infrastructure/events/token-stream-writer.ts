import { sleep } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';
import type { RedisConnections } from '../redis/redis-connections.ts';
import type { MemoryTokenStream } from './memory-token-stream.ts';

/** An entry's id is its place, counted from 1: the same one cannot be written twice, and a gap cannot hide. */
const appendScript = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local have = 0
if #last > 0 then
  if last[1][2][1] == 'e' then return -1 end
  have = tonumber(string.match(last[1][1], '^%d+'))
end
local from = tonumber(ARGV[1])
if have < from then return have end
for i = 4 + (have - from) * 2, #ARGV, 2 do
  have = have + 1
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], have .. '-0', ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return have`;

const abandonScript = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last == 0 or last[1][2][1] == 'e' then return 0 end
redis.call('XADD', KEYS[1], (tonumber(string.match(last[1][1], '^%d+')) + 1) .. '-0', 'e', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`;

/** Fields of an entry: `t` a piece's text, `e` the outcome as JSON. */
export type StreamField = 't' | 'e';

/** More pieces than a stream in memory may have, and its end. */
const entriesMax = 200_001;
/** A stream whose writer was killed goes by itself; each append begins the time anew. */
const liveMs = 3_600_000;
const endedMs = 600_000;
const batchEntriesMax = 500;
const batchCharsMax = 256 * 1024;
/** A reply that does not come by then is asked for again: entries cannot double. */
const replyTimeoutMs = 5_000;
const retryPauseMs = 500;

export function streamKey(redis: RedisConnections, messageId: string): string {
  return `${redis.prefix}:tokens:${messageId}`;
}

export type TokenStreamWriterOptions = { redis: RedisConnections; memory: MemoryTokenStream; logger: Logger };

/**
 * Copies this process's streams from memory to Redis: each by itself, in order, whatever Redis forgets meanwhile. What
 * waits to be written lies in memory once, so that Redis may be away for as long as answers are held there.
 */
export class TokenStreamWriter {
  readonly #options: TokenStreamWriterOptions;
  /** Entries that Redis is known to have, by message; here for as long as there is something to write. */
  readonly #sent = new Map<string, number>();
  readonly #pumps = new Map<string, Promise<void>>();
  readonly #closing = new AbortController();

  constructor(options: TokenStreamWriterOptions) {
    this.#options = options;
  }

  /** The stream has grown or ended. Never waits. */
  mark(messageId: string): void {
    if (!this.#sent.has(messageId)) this.#sent.set(messageId, 0);
    if (this.#pumps.has(messageId) || this.#closing.signal.aborted) return;
    const pump = this.#pump(messageId).finally(() => {
      this.#pumps.delete(messageId);
      // Grown in the very moment in which the pump found nothing more.
      if (this.#isBehind(messageId)) this.mark(messageId);
    });
    this.#pumps.set(messageId, pump);
  }

  /** This process writes it, or did and still holds it. */
  owns(messageId: string): boolean {
    return this.#sent.has(messageId);
  }

  async abandon(messageId: string, outcome: Readonly<Record<string, unknown>>): Promise<void> {
    const { redis } = this.#options;
    await redis.commands.eval(abandonScript, 1, streamKey(redis, messageId), JSON.stringify(outcome), endedMs);
  }

  /** Resolves when Redis has everything that was marked before. */
  async flushed(): Promise<void> {
    while (this.#pumps.size > 0) await Promise.all(this.#pumps.values());
  }

  close(): void {
    this.#closing.abort();
  }

  async #pump(messageId: string): Promise<void> {
    const { logger } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      try {
        if (await this.#writeBatch(messageId)) return;
      } catch (err) {
        logger.debug({ err, messageId }, 'pieces of an answer did not reach Redis; they are written again');
        await sleep(retryPauseMs, signal).catch(() => undefined);
      }
    }
  }

  /** True when nothing is left to write. */
  async #writeBatch(messageId: string): Promise<boolean> {
    const stream = this.#options.memory.stored(messageId);
    const sent = this.#sent.get(messageId);
    // Dropped from memory: its text is in the database.
    if (!stream || sent === undefined) return this.#forget(messageId);
    const entries = nextEntries(stream, sent);
    if (entries.length === 0) return true;
    const have = await this.#append(messageId, sent, entries);
    // It has its end: this process was taken for dead, or the answer to an earlier try was lost.
    if (have === -1) return this.#forget(messageId);
    this.#sent.set(messageId, have);
    return stream.outcome !== null && have > stream.pieces.length && this.#forget(messageId);
  }

  async #append(messageId: string, sent: number, entries: readonly Entry[]): Promise<number> {
    const { redis } = this.#options;
    const lifeMs = entries.at(-1)?.[0] === 'e' ? endedMs : liveMs;
    return await inTime(redis.commands.eval(appendScript, 1, streamKey(redis, messageId), sent, lifeMs, entriesMax, ...entries.flat()) as Promise<number>);
  }

  #isBehind(messageId: string): boolean {
    const stream = this.#options.memory.stored(messageId);
    const sent = this.#sent.get(messageId);
    return stream !== null && sent !== undefined && nextEntries(stream, sent).length > 0;
  }

  #forget(messageId: string): true {
    this.#sent.delete(messageId);
    return true;
  }
}

type Entry = readonly [StreamField, string];

function nextEntries({ pieces, outcome }: NonNullable<ReturnType<MemoryTokenStream['stored']>>, sent: number): Entry[] {
  const entries: Entry[] = [];
  let chars = 0;
  for (let index = sent; index < pieces.length && entries.length < batchEntriesMax && chars < batchCharsMax; index += 1) {
    const text = pieces[index] ?? '';
    chars += text.length;
    entries.push(['t', text]);
  }
  if (outcome && sent + entries.length === pieces.length) entries.push(['e', JSON.stringify(outcome)]);
  return entries;
}

async function inTime<T>(reply: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error('Redis does not answer')), replyTimeoutMs);
  reply.catch(() => undefined);
  try {
    return await Promise.race([reply, promise]);
  } finally {
    clearTimeout(timer);
  }
}
