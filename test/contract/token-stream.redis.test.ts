import { afterAll, afterEach, beforeAll } from '@jest/globals';
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
