import { afterAll, afterEach, beforeAll } from '@jest/globals';
import { newId } from '../../src/shared/ids.ts';
import { openRedisProcess, passed, type RedisProcess } from '../support/redis-process.ts';
import { startRedisServer, type RedisServer } from '../support/redis-server.ts';
import { describeEventBus } from './event-bus.suite.ts';

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

describeEventBus('over Redis, within one process', async () => {
  const { bus } = await open(newId());
  return { bus, settled: () => Promise.resolve() };
});

describeEventBus('over Redis, from one process to another', async () => {
  const prefix = newId();
  const [from, to] = [await open(prefix), await open(prefix)];
  const bus = {
    publish: from.bus.publish.bind(from.bus),
    subscribe: to.bus.subscribe.bind(to.bus),
    close: async () => {
      await Promise.all([from.bus.close(), to.bus.close()]);
    },
  };
  return { bus, settled: () => passed(from, to) };
});
