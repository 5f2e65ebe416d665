import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { sleep } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';
import { EmbeddedPostgresUnavailable, findNativeFolder, prepareBinaries } from './postgres-binaries.ts';
import type { PostgresBinaries, RunAs } from './postgres-binaries.ts';
import { assertReachable } from './reachable.ts';
import { createPostgresLog } from './postgres-log.ts';
import type { PostgresLog } from './postgres-log.ts';
import { isPostmasterOf, readPostmasterFile, stopPostmaster } from './postmaster.ts';
import { answersAs } from './sql-client.ts';

const run = promisify(execFile);

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

/** uid and gid of `nobody` on Linux; the server refuses root, so root starts it as this user. */
const unprivileged: RunAs = { uid: 65_534, gid: 65_534 };
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

export type EmbeddedPostgres = {
  readonly pid: number;
  /** True when the server of an earlier start was still running and has been taken over. */
  readonly adopted: boolean;
  url(database: string): string;
  /** Fast shutdown; an immediate one when the signal aborts first. */
  stop(signal: AbortSignal): Promise<void>;
};

type Context = {
  options: EmbeddedPostgresOptions;
  cluster: string;
  password: string;
  binaries: PostgresBinaries;
  runAs: RunAs | null;
  log: PostgresLog;
};

/** The cluster of `folder`: while it exists, its data is the truth and no other store may take its place. */
export function clusterFolderOf(folder: string): string {
  return join(folder, 'cluster');
}

/**
 * Starts the server of `folder`, or takes over the one that a killed process has left running. Callers hold the
 * data folder's lock: two of these at once on one folder is their fault.
 * Throws EmbeddedPostgresUnavailable when this machine or place cannot run it.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions, signal: AbortSignal): Promise<EmbeddedPostgres> {
  const native = findNativeFolder();
  if (!native) throw new EmbeddedPostgresUnavailable(`no PostgreSQL binaries are installed for ${process.platform}-${process.arch}`);
  const runAs = process.getuid?.() === 0 ? unprivileged : null;
  await mkdir(options.folder, { recursive: true, mode: 0o700 });
  // Servers are told apart by their data directory's path, which must not depend on how the folder was spelt.
  const folder = await realpath(options.folder);
  if (runAs) await chown(folder, runAs.uid, runAs.gid);
  if (runAs) await assertReachable(folder);
  const binaries = await prepareBinaries({ native, copyParent: folder, runAs });
  const cluster = clusterFolderOf(folder);
  const password = await readOrMakePassword(join(folder, 'password'), cluster, runAs);
  const log = await createPostgresLog(options.logFile, options.logger);
  const context: Context = { options: { ...options, folder }, cluster, password, binaries, runAs, log };
  try {
    await createCluster(context, signal);
    return (await adopt(context, signal)) ?? (await launch(context, signal));
  } catch (error) {
    log.close();
    throw error;
  }
}

async function readOrMakePassword(path: string, cluster: string, runAs: RunAs | null): Promise<string> {
  const stored = await readFile(path, 'utf8').catch(() => '');
  if (stored !== '') return stored;
  if (await hasCluster(cluster)) throw new Error(`the database's password file ${path} is missing`);
  const password = randomBytes(24).toString('hex');
  await writeFile(path, password, { mode: 0o600 });
  // initdb reads it as the user that it runs as.
  if (runAs) await chown(path, runAs.uid, runAs.gid);
  return password;
}

async function hasCluster(cluster: string): Promise<boolean> {
  return await readFile(join(cluster, 'PG_VERSION')).then(() => true, () => false);
}

/** Made beside its place and renamed, so that a crash half-way leaves nothing that looks like a cluster. */
async function createCluster(context: Context, signal: AbortSignal): Promise<void> {
  const { options, cluster, runAs, binaries } = context;
  if (await hasCluster(cluster)) return;
  for (const name of await readdir(options.folder)) {
    if (name.startsWith('cluster.')) await rm(join(options.folder, name), { recursive: true, force: true });
  }
  const temporary = `${cluster}.${randomBytes(4).toString('hex')}`;
  const flags = ['-A', 'scram-sha-256', '-E', 'UTF8', '--locale-provider=builtin', '--locale=C.UTF-8', '--no-instructions', '--wal-segsize=4'];
  const args = ['-D', temporary, '-U', databaseUser, `--pwfile=${join(options.folder, 'password')}`, ...flags];
  try {
    await run(binaries.initdb, args, { cwd: options.folder, env: serverEnvironment(), signal, ...runAs });
    await rename(temporary, cluster);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    signal.throwIfAborted();
    const stderr = (error as { stderr?: string }).stderr?.trim() ?? '';
    throw new EmbeddedPostgresUnavailable(`initdb failed: ${stderr.split('\n').at(-1) ?? ''}`, { cause: error });
  }
}

function serverEnvironment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };
}

/** Null when none runs. One that runs but does not know our password is ended: nobody else can use it. */
async function adopt(context: Context, signal: AbortSignal): Promise<EmbeddedPostgres | null> {
  const { cluster, options } = context;
  const deadline = performance.now() + lockRetryMs;
  let found = await readPostmasterFile(cluster);
  while (found && (await isPostmasterOf(found.pid, cluster))) {
    signal.throwIfAborted();
    if (found.ready && (await answersAs(urlOf(context, found.port, 'postgres'), cluster))) {
      options.logger.info({ pid: found.pid, port: found.port }, 'took over the database server of an earlier start');
      return handleOf(context, { pid: found.pid, port: found.port, adopted: true });
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

async function launch(context: Context, signal: AbortSignal): Promise<EmbeddedPostgres> {
  const deadline = performance.now() + lockRetryMs;
  let portsTried = 0;
  for (let pauseMs = 50; ; pauseMs = Math.min(pauseMs * 2, 1_000)) {
    signal.throwIfAborted();
    const port = await freePort();
    const offset = await context.log.size();
    const child = spawnServer(context, port);
    if (await becameReady(context, child, signal)) {
      child.unref();
      return handleOf(context, { pid: child.pid ?? 0, port, adopted: false, child });
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

function spawnServer(context: Context, port: number): ChildProcess {
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

async function becameReady(context: Context, child: ChildProcess, signal: AbortSignal): Promise<boolean> {
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

type Running = { pid: number; port: number; adopted: boolean; child?: ChildProcess };

function handleOf(context: Context, running: Running): EmbeddedPostgres {
  let stopping = false;
  running.child?.once('exit', (code, killedBy) => {
    if (!stopping) context.options.logger.error({ pid: running.pid, code, signal: killedBy }, 'the database server ended by itself');
  });
  return {
    pid: running.pid,
    adopted: running.adopted,
    url: (database) => urlOf(context, running.port, database),
    stop: async (signal) => {
      stopping = true;
      if (await isPostmasterOf(running.pid, context.cluster)) await stopPostmaster(running.pid, signal);
      context.log.close();
    },
  };
}

function urlOf(context: Context, port: number, database: string): string {
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
