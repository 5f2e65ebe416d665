import { afterAll, afterEach, beforeAll, expect, it } from '@jest/globals';
import { newId } from '../../src/shared/ids.ts';
import type { TokenStream } from '../../src/shared/token-stream.ts';
import { openRedisProcess, type RedisProcess } from '../support/redis-process.ts';
import { startRedisServer, type RedisServer } from '../support/redis-server.ts';
import { describeTokenStream, readAll } from './token-stream.suite.ts';

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
    append: (messageId, text) => writer.append(messageId, text),
    end: async (messageId, outcome) => {
      await writer.end(messageId, outcome);
      await writer.flushed();
    },
    abandon: async (messageId, outcome) => {
      await writer.flushed();
      await reader.abandon(messageId, outcome);
    },
    pieces: async (messageId) => {
      await writer.flushed();
      return await reader.pieces(messageId);
    },
    has: async (messageId) => {
      // The suite asks the other process right after; the writer itself waits for nobody.
      await writer.flushed();
      return await reader.has(messageId);
    },
    read: (messageId, after) => reader.read(messageId, after),
  };
});

it('writes a piece with half a character as well as it can, and all that follows', async () => {
  const prefix = newId();
  const [writer, reader] = [(await open(prefix)).tokens, (await open(prefix)).tokens];
  const messageId = newId();
  for (const text of ['a\ud83d', '\udc00b', 'c']) writer.append(messageId, text);
  await writer.end(messageId, {});
  expect(await readAll(reader.read(messageId, -1))).toEqual(['0:a\ufffd', '1:\ufffdb', '2:c', 'end 2 {}']);
});

it('leaves nothing in Redis for ever: an hour after the last growth, or ten minutes after its end, a stream is gone', async () => {
  const prefix = newId();
  const { tokens } = await open(prefix);
  const lifeMs = async (messageId: string): Promise<number> => Number(await server.command('PTTL', `${prefix}:tokens:${messageId}`));
  const messageId = newId();
  tokens.append(messageId, 'a');
  await tokens.flushed();
  const live = await lifeMs(messageId);
  expect(live).toBeGreaterThan(50 * 60_000);
  expect(live).toBeLessThanOrEqual(60 * 60_000);
  tokens.append(messageId, 'b');
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
  tokens.append(messageId, 'a');
  await tokens.flushed();
  await server.command('DEL', key);
  tokens.append(messageId, 'b');
  await tokens.flushed();
  expect(await server.command('XLEN', key)).toBe(2);
  expect(Number(await server.command('PTTL', key))).toBeGreaterThan(50 * 60_000);
});
