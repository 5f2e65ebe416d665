import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { sleep } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';
import type { PostgresBinaries, RunAs } from './postgres-binaries.ts';
import type { PostgresLog } from './postgres-log.ts';
import { isPostmasterOf, readPostmasterFile, stopPostmaster } from './postmaster.ts';
import { answersAs } from './sql-client.ts';

export const databaseUser = 'llm_manager';

/**
 * One small service on one machine: memory and start time count for more than throughput. Replication and parallel
 * plans are off, because each reserves processes or shared memory that nothing here uses. fsync stays on.
 */
const serverSettings: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '60',
  shared_buffers: '32MB',
  max_wal_size: '256MB',
  min_wal_size: '32MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_replication_slots: '0',
  max_logical_replication_workers: '0',
  max_parallel_workers_per_gather: '0',
  io_method: 'sync',
  huge_pages: 'off',
  jit: 'off',
  log_min_messages: 'warning',
  log_checkpoints: 'off',
  log_timezone: 'UTC',
  timezone: 'UTC',
  idle_in_transaction_session_timeout: '60s',
};

/** A killed server's process and shared memory may outlive it for some seconds. */
const lockRetryMs = 10_000;
const readyTimeoutMs = 60_000;
const portAttemptsMax = 5;
const pollMs = 5;

export type EmbeddedPostgresOptions = {
  /** A folder for the server alone; as root it becomes the property of the unprivileged user. */
  folder: string;
  logFile: string;
  logger: Logger;
  /** Overrides of the server's settings. */
  settings?: Readonly<Record<string, string>>;
};

export type ServerContext = {
  options: EmbeddedPostgresOptions;
  cluster: string;
  password: string;
  binaries: PostgresBinaries;
  runAs: RunAs | null;
  log: PostgresLog;
};

/** `child` is null for a server that an earlier process has started. */
export type RunningServer = { pid: number; port: number; child: ChildProcess | null };

export function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

/** Null when none runs. One that runs but does not know our password is ended: nobody else can use it. */
export async function adopt(context: ServerContext, signal: AbortSignal): Promise<RunningServer | null> {
  const { cluster, options } = context;
  const deadline = performance.now() + lockRetryMs;
  let found = await readPostmasterFile(cluster);
  while (found && (await isPostmasterOf(found.pid, cluster))) {
    signal.throwIfAborted();
    if (found.ready && (await answersAs(urlOf(context, found.port, 'postgres'), cluster))) {
      options.logger.info({ pid: found.pid, port: found.port }, 'took over the database server of an earlier start');
      return { pid: found.pid, port: found.port, child: null };
    }
    if (found.ready || performance.now() > deadline) {
      options.logger.warn({ pid: found.pid }, 'a database server of an earlier start does not answer to us; ending it');
      await stopPostmaster(found.pid, AbortSignal.timeout(lockRetryMs));
      return null;
    }
    await sleep(pollMs, signal);
    found = await readPostmasterFile(cluster);
  }
  return null;
}

/** Starts the server, on `fixedPort` when it is given and on any free port otherwise. */
export async function launch(context: ServerContext, signal: AbortSignal, fixedPort?: number): Promise<RunningServer> {
  const deadline = performance.now() + lockRetryMs;
  let portsTried = 0;
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    signal.throwIfAborted();
    const port = fixedPort ?? (await freePort());
    const offset = await context.log.size();
    const child = spawnServer(context, port);
    if (await becameReady(context, child, signal)) {
      child.unref();
      return { pid: child.pid ?? 0, port, child };
    }
    const words = await context.log.readFrom(offset);
    const portTaken = /could not bind|Address already in use/.test(words);
    if (portTaken) portsTried += 1;
    // Both fade by themselves; deleting the file by hand could take a live server's lock away.
    const stillLocked = /lock file .* already exists|pre-existing shared memory block/.test(words);
    const mayRetry = (portTaken && portsTried < portAttemptsMax) || (stillLocked && performance.now() < deadline);
    if (!mayRetry) throw new Error(`the embedded PostgreSQL did not start: ${words.trim().split('\n').slice(-3).join(' / ')}`);
    if (stillLocked) await sleep(pauseMs, signal);
  }
}

function spawnServer(context: ServerContext, port: number): ChildProcess {
  const settings = { ...serverSettings, ...context.options.settings, port: String(port) };
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
  return spawn(context.binaries.postgres, ['-D', context.cluster, ...flags], {
    cwd: context.options.folder,
    env: serverEnvironment(),
    // A session of its own: a Ctrl-C in the terminal must reach the service only, which then ends the server in order.
    detached: true,
    stdio: ['ignore', context.log.descriptor, context.log.descriptor],
    ...context.runAs,
  });
}

async function becameReady(context: ServerContext, child: ChildProcess, signal: AbortSignal): Promise<boolean> {
  const failed = once(child, 'error').then(() => false, () => false);
  if (child.pid === undefined) return await failed;
  const deadline = performance.now() + readyTimeoutMs;
  while (child.exitCode === null && child.signalCode === null) {
    const file = await readPostmasterFile(context.cluster);
    if (file?.pid === child.pid && file.ready) return true;
    if (signal.aborted || performance.now() > deadline) {
      await stopPostmaster(child.pid, AbortSignal.timeout(lockRetryMs));
      signal.throwIfAborted();
      return false;
    }
    await sleep(pollMs);
  }
  return false;
}

export function urlOf(context: ServerContext, port: number, database: string): string {
  return `postgresql://${databaseUser}:${context.password}@127.0.0.1:${port}/${database}`;
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no free port');
  return address.port;
}
