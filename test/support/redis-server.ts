import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { createTemporaryFolder } from './data-dir.ts';
import { eventually } from './eventually.ts';

export type RedisServer = {
  readonly url: string;
  /** Kills it; clients find nobody until `start`. What it held is gone, as nothing is written to disk. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Sends one command by a connection of its own. */
  command(name: string, ...args: (string | number)[]): Promise<unknown>;
  close(): Promise<void>;
};

/** A real Redis of this test's own, on a socket in a temporary folder: no port can collide. */
export async function startRedisServer(options: { password?: string } = {}): Promise<RedisServer> {
  const folder = await createTemporaryFolder('redis');
  const socket = join(folder.path, 'redis.sock');
  const url = options.password === undefined ? `unix://${socket}` : `unix://:${options.password}@localhost${socket}`;
  let child: ChildProcess | null = null;
  const connect = (): Redis => new Redis({ path: socket, lazyConnect: true, retryStrategy: null, ...(options.password === undefined ? {} : { password: options.password }) });
  const start = async (): Promise<void> => {
    const args = ['--port', '0', '--unixsocket', socket, '--save', '', '--appendonly', 'no', '--dir', folder.path, ...(options.password === undefined ? [] : ['--requirepass', options.password])];
    const started = spawn('redis-server', args, { stdio: 'ignore' });
    const failed = once(started, 'error').then(([error]) => Promise.reject(error as Error));
    failed.catch(() => undefined);
    child = started;
    const answers = eventually('Redis answers', async () => {
      const probe = connect();
      probe.on('error', () => undefined);
      try {
        await probe.connect();
        await probe.ping();
        return true;
      } catch {
        return false;
      } finally {
        probe.disconnect();
      }
    });
    await Promise.race([answers, failed]);
  };
  const kill = async (): Promise<void> => {
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  await start();
  return {
    url,
    start,
    kill,
    async command(name, ...args) {
      const client = connect();
      client.on('error', () => undefined);
      try {
        await client.connect();
        return await client.call(name, ...args);
      } finally {
        client.disconnect();
      }
    },
    async close() {
      await kill();
      await folder.remove();
    },
  };
}
