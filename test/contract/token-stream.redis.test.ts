import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { newId } from '../../src/shared/ids.ts';
import type { TokenStream } from '../../src/shared/token-stream.ts';
import { openRedisProcess, type RedisProcess } from '../support/redis-process.ts';
import { startRedisServer, type RedisServer } from '../support/redis-server.ts';
import { describeTokenStream } from './token-stream.suite.ts';

let server: RedisServer;
let processes: RedisProcess[] = [];
beforeAll(async () => {
  server = await startRedisServer();
});
afterEach(async () => {
  await Promise.all(processes.map((process) => process.close()));
  processes = [];
});
afterAll(() => server.close());

async function open(prefix: string): Promise<RedisProcess> {
  const process = await openRedisProcess(server.url, prefix);
  processes.push(process);
  return process;
}

describeTokenStream('over Redis, within one process', async () => (await open(newId())).tokens);

describeTokenStream('over Redis, written by one process and read by another', async (): Promise<TokenStream> => {
  const prefix = newId();
  const [writer, reader] = [(await open(prefix)).tokens, (await open(prefix)).tokens];
  return {
    isShared: true,
    append: async (messageId, text) => {
      const index = await writer.append(messageId, text);
      // The suite asks the other process right after; the writer itself waits for nobody.
      if (index === 0) await writer.flushed();
      return index;
    },
    end: async (messageId, outcome) => {
      await writer.end(messageId, outcome);
      await writer.flushed();
    },
    abandon: (messageId, outcome) => reader.abandon(messageId, outcome),
    pieces: async (messageId) => {
      await writer.flushed();
      return await reader.pieces(messageId);
    },
    has: (messageId) => reader.has(messageId),
    read: (messageId, after, signal) => reader.read(messageId, after, signal),
  };
});

it('leaves nothing in Redis for ever: an hour after the last growth, or ten minutes after its end, a stream is gone', async () => {
  const prefix = newId();
  const { tokens } = await open(prefix);
  const lifeMs = async (messageId: string): Promise<number> => Number(await server.command('PTTL', `${prefix}:tokens:${messageId}`));
  const messageId = newId();
  await tokens.append(messageId, 'a');
  await tokens.flushed();
  const live = await lifeMs(messageId);
  expect(live).toBeGreaterThan(50 * 60_000);
  expect(live).toBeLessThanOrEqual(60 * 60_000);
  await tokens.append(messageId, 'b');
  await tokens.flushed();
  expect(await lifeMs(messageId)).toBeGreaterThan(50 * 60_000);
  await tokens.end(messageId, { status: 'completed' });
  await tokens.flushed();
  expect(await lifeMs(messageId)).toBeLessThanOrEqual(10 * 60_000);
});

it('begins the life of a stream anew that Redis has lost meanwhile', async () => {
  const prefix = newId();
  const { tokens } = await open(prefix);
  const messageId = newId();
  const key = `${prefix}:tokens:${messageId}`;
  await tokens.append(messageId, 'a');
  await tokens.flushed();
  await server.command('DEL', key);
  await tokens.append(messageId, 'b');
  await tokens.flushed();
  expect(await server.command('XLEN', key)).toBe(2);
  expect(Number(await server.command('PTTL', key))).toBeGreaterThan(50 * 60_000);
});
