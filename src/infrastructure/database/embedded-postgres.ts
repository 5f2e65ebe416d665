import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { EmbeddedPostgresUnavailable, findNativeFolder, prepareBinaries } from './postgres-binaries.ts';
import type { RunAs } from './postgres-binaries.ts';
import { createPostgresLog } from './postgres-log.ts';
import { adopt, databaseUser, launch, serverEnvironment } from './postgres-server.ts';
import type { EmbeddedPostgresOptions, ServerContext } from './postgres-server.ts';
import { assertReachable } from './reachable.ts';
import { SupervisedServer } from './supervised-server.ts';

/** uid and gid of `nobody` on Linux; the server refuses root, so root starts it as this user. */
const unprivileged: RunAs = { uid: 65_534, gid: 65_534 };
/** The cluster of `folder`: while it exists, its data is the truth and no other store may take its place. */
export function clusterFolderOf(folder: string): string {
  return join(folder, 'cluster');
}

/**
 * Starts the server of `folder`, or takes over the one that a killed process has left running. Callers hold the
 * data folder's lock: two of these at once on one folder is their fault.
 * Throws EmbeddedPostgresUnavailable when this machine or place cannot run it.
 */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions, signal: AbortSignal): Promise<SupervisedServer> {
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
  const context: ServerContext = { options: { ...options, folder }, cluster, password, binaries, runAs, log };
  try {
    await createCluster(context, signal);
    return new SupervisedServer(context, (await adopt(context, signal)) ?? (await launch(context, signal)));
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
async function createCluster(context: ServerContext, signal: AbortSignal): Promise<void> {
  const { options, cluster, runAs, binaries } = context;
  if (await hasCluster(cluster)) return;
  for (const name of await readdir(options.folder)) {
    if (name.startsWith('cluster.')) await removeCluster(join(options.folder, name));
  }
  const temporary = `${cluster}.${randomBytes(4).toString('hex')}`;
  const flags = ['-A', 'scram-sha-256', '-E', 'UTF8', '--locale-provider=builtin', '--locale=C.UTF-8', '--no-instructions', '--wal-segsize=4'];
  const args = ['-D', temporary, '-U', databaseUser, `--pwfile=${join(options.folder, 'password')}`, ...flags];
  try {
    const fault = await runInitdb({ file: binaries.initdb, args, cwd: options.folder, runAs }, signal);
    if (fault === null) await rename(temporary, cluster);
    else if (diskFull.test(fault)) throw new Error(`The database cannot be made in ${options.folder}: no space is left on the disk.`);
    else throw new EmbeddedPostgresUnavailable(`initdb failed: ${fault.trim().split('\n').at(-1) ?? ''}`);
  } catch (error) {
    await removeCluster(temporary);
    throw error;
  }
}

/** Another store would find no space either. */
const diskFull = /No space left|quota exceeded/i;
const faultTextMax = 16 * 1024;

/** Null when it worked, else what it said. When the signal aborts, it is gone before this rejects. */
async function runInitdb({ file, args, cwd, runAs }: { file: string; args: string[]; cwd: string; runAs: RunAs | null }, signal: AbortSignal): Promise<string | null> {
  signal.throwIfAborted();
  // A group of its own: a Ctrl-C in the terminal is for the service, and its helpers end together with it.
  const child = spawn(file, args, { cwd, env: serverEnvironment(), stdio: ['ignore', 'ignore', 'pipe'], detached: true, ...runAs });
  const kill = (): void => {
    if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
  };
  signal.addEventListener('abort', kill, { once: true });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (said = (said + text).slice(-faultTextMax)));
  const { promise, resolve } = Promise.withResolvers<number | null>();
  child.once('error', (error) => {
    said += error.message;
    resolve(null);
  });
  // `close`, not `exit`: its helpers hold the pipe as long as they write.
  child.once('close', resolve);
  try {
    const exitCode = await promise;
    signal.throwIfAborted();
    return exitCode === 0 ? null : said;
  } finally {
    signal.removeEventListener('abort', kill);
  }
}

/** One that a killed service's initdb is still filling needs more than one try. */
async function removeCluster(path: string): Promise<void> {
  await rm(path, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
}
