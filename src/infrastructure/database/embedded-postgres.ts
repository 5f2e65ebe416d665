import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, readdir, readFile, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { EmbeddedPostgresUnavailable, findNativeFolder, prepareBinaries } from './postgres-binaries.ts';
import type { RunAs } from './postgres-binaries.ts';
import { createPostgresLog } from './postgres-log.ts';
import { adopt, databaseUser, launch, serverEnvironment } from './postgres-server.ts';
import type { EmbeddedPostgresOptions, ServerContext } from './postgres-server.ts';
import { assertReachable } from './reachable.ts';
import { SupervisedServer } from './supervised-server.ts';

const run = promisify(execFile);

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
