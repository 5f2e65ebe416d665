import { createHash } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { sleep } from '../../shared/async.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import type { RedisConnections } from '../redis/redis-connections.ts';
import type { MemoryTokenStream } from './memory-token-stream.ts';

/**
 * An entry's id is its place, counted from 1: the same one cannot be written twice, and a gap cannot hide. For each
 * stream, as JSON, because hundreds of arguments cost more to send: how many entries it should have, its life in ms
 * from now or 0 to leave that as it is, the pieces that follow, and its end or false. Answers how many entries each has,
 * -1 for one that has its end. Looked at more closely, and so at more cost, is only a stream that has another length
 * than it should.
 */
const appendScript = `
local out = {}
for k, growth in ipairs(cjson.decode(ARGV[1])) do
  local from, lifeMs, pieces, last = growth[1], growth[2], growth[3], growth[4]
  local count = #pieces
  local have = redis.call('XLEN', KEYS[k])
  if have > from and redis.call('XREVRANGE', KEYS[k], '+', '-', 'COUNT', 1)[1][2][1] == 'e' then
    have = -1
  end
  if have >= from then
    for place = have - from + 1, count do
      have = have + 1
      redis.call('XADD', KEYS[k], have .. '-0', 't', pieces[place])
    end
    if last and have == from + count then
      have = have + 1
      redis.call('XADD', KEYS[k], have .. '-0', 'e', last)
    end
    if lifeMs > 0 then redis.call('PEXPIRE', KEYS[k], lifeMs) end
  end
  out[k] = have
end
return out`;
const appendDigest = createHash('sha1').update(appendScript).digest('hex');

const abandonScript = `
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last == 0 or last[1][2][1] == 'e' then return 0 end
redis.call('XADD', KEYS[1], (tonumber(string.match(last[1][1], '^%d+')) + 1) .. '-0', 'e', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1`;

/** Fields of an entry: `t` a piece's text, `e` the outcome as JSON. */
export type StreamField = 't' | 'e';

/** A stream whose writer was killed goes by itself; appends begin the time anew, though not each of them. */
const liveMs = 3_600_000;
const renewEveryMs = 300_000;
const endedMs = 600_000;
/** Of one stream at once. */
const batchEntriesMax = 500;
const batchCharsMax = 256 * 1024;
/** Of all streams together. */
const batchStreamsMax = 64;
const batchTotalCharsMax = 1024 * 1024;
/** What all streams have grown by in such a time is written together: fifty streams of 100 tokens/s are 200 writes a second, not 5,000. */
const writeEveryMs = 5;
/** A reply that does not come by then is asked for again: entries cannot double. */
const replyTimeoutMs = 5_000;
const retryPauseMs = 500;

export function streamKey(redis: RedisConnections, messageId: string): string {
  return `${redis.prefix}:tokens:${messageId}`;
}

export type TokenStreamWriterOptions = { redis: RedisConnections; memory: MemoryTokenStream; clock: Clock; logger: Logger };

type Stored = NonNullable<ReturnType<MemoryTokenStream['stored']>>;
/** `renewedMs`: when its life began anew. */
type Sent = { count: number; renewedMs: number };
/** `end`: the outcome as JSON. */
type Growth = { messageId: string; sent: Sent; lifeMs: number; pieces: readonly string[]; end: string | false };

/**
 * Copies this process's streams from memory to Redis: each in order, whatever Redis forgets meanwhile. What waits to be
 * written lies in memory once, so that Redis may be away for as long as answers are held there.
 */
export class TokenStreamWriter {
  readonly #options: TokenStreamWriterOptions;
  /** Entries that Redis is known to have, by message; here for as long as there is something to write. */
  readonly #sent = new Map<string, Sent>();
  /** May have grown since they were last looked at. */
  readonly #marked = new Set<string>();
  readonly #closing = new AbortController();
  #pump: Promise<void> | null = null;

  constructor(options: TokenStreamWriterOptions) {
    this.#options = options;
  }

  /** The stream has grown or ended. Never waits. */
  mark(messageId: string): void {
    if (!this.#sent.has(messageId)) this.#sent.set(messageId, { count: 0, renewedMs: Number.NEGATIVE_INFINITY });
    this.#marked.add(messageId);
    this.#start();
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
    while (this.#pump) await this.#pump;
  }

  close(): void {
    this.#closing.abort();
  }

  #start(): void {
    if (this.#pump || this.#marked.size === 0 || this.#closing.signal.aborted) return;
    this.#pump = this.#run().finally(() => {
      this.#pump = null;
      // Grown in the very moment in which nothing more was found.
      this.#start();
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    // What else this turn of the event loop brings goes along.
    await nextTurn();
    while (this.#marked.size > 0 && !signal.aborted) {
      const isWritten = await this.#write(this.#take());
      await sleep(isWritten ? writeEveryMs : retryPauseMs, signal).catch(() => undefined);
    }
  }

  /** What is to be written next; those of the marked that have nothing new are marked no more. */
  #take(): Growth[] {
    const batch: Growth[] = [];
    let chars = 0;
    for (const messageId of this.#marked) {
      if (batch.length === batchStreamsMax || chars > batchTotalCharsMax) break;
      this.#marked.delete(messageId);
      const stream = this.#options.memory.stored(messageId);
      const sent = this.#sent.get(messageId);
      // Dropped from memory: its text is in the database.
      if (!stream || sent === undefined) this.#sent.delete(messageId);
      else if (hasMore(stream, sent.count)) {
        const next = nextPieces(stream, sent.count);
        const end = stream.outcome && sent.count + next.pieces.length === stream.pieces.length ? JSON.stringify(stream.outcome) : false;
        batch.push({ messageId, sent, lifeMs: this.#lifeMs(sent, end !== false), pieces: next.pieces, end });
        chars += next.chars;
      }
    }
    return batch;
  }

  /** 0: as it is. What Redis has lost begins anew, with its life. */
  #lifeMs({ count, renewedMs }: Sent, isEnd: boolean): number {
    if (isEnd) return endedMs;
    return count === 0 || this.#options.clock.monotonicMs() - renewedMs >= renewEveryMs ? liveMs : 0;
  }

  /** False when it has to be tried again. */
  async #write(batch: readonly Growth[]): Promise<boolean> {
    if (batch.length === 0) return true;
    try {
      const have = await this.#append(batch);
      for (const [index, growth] of batch.entries()) this.#note(growth, have[index] ?? -1);
      return true;
    } catch (err) {
      this.#options.logger.debug({ err, streams: batch.length }, 'pieces of answers did not reach Redis; they are written again');
      for (const { messageId } of batch) this.#marked.add(messageId);
      return false;
    }
  }

  async #append(batch: readonly Growth[]): Promise<number[]> {
    const { redis } = this.#options;
    const keys = batch.map(({ messageId }) => streamKey(redis, messageId));
    const growths = JSON.stringify(batch.map(({ sent, lifeMs, pieces, end }) => [sent.count, lifeMs, pieces, end]));
    const sending = [keys.length, ...keys, growths] as const;
    const reply = redis.commands.evalsha(appendDigest, ...sending).catch((error: unknown) => {
      if (!(error instanceof Error && error.message.startsWith('NOSCRIPT'))) throw error;
      return redis.commands.eval(appendScript, ...sending);
    });
    return (await inTime(reply)) as number[];
  }

  #note({ messageId, sent, lifeMs }: Growth, have: number): void {
    const stream = this.#options.memory.stored(messageId);
    const isWhole = stream !== null && stream.outcome !== null && have > stream.pieces.length;
    // -1: it has its end, as this process was taken for dead, or the answer to an earlier try was lost.
    if (have === -1 || stream === null || isWhole) this.#sent.delete(messageId);
    else {
      this.#sent.set(messageId, { count: have, renewedMs: lifeMs > 0 ? this.#options.clock.monotonicMs() : sent.renewedMs });
      if (hasMore(stream, have)) this.#marked.add(messageId);
    }
  }
}

/** Redis has as many entries, and there is one more to write. */
function hasMore({ pieces, outcome }: Stored, sent: number): boolean {
  return sent < pieces.length || (outcome !== null && sent === pieces.length);
}

function nextPieces(stream: Stored, sent: number): { pieces: string[]; chars: number } {
  const pieces: string[] = [];
  let chars = 0;
  for (let index = sent; index < stream.pieces.length && pieces.length < batchEntriesMax && chars < batchCharsMax; index += 1) {
    // Half a character is none that Redis' reader of JSON knows.
    const text = (stream.pieces[index] ?? '').toWellFormed();
    chars += text.length;
    pieces.push(text);
  }
  return { pieces, chars };
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
