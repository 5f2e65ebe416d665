import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startEmbeddedPostgres } from '../../src/infrastructure/database/embedded-postgres.ts';
import { entities } from '../../src/infrastructure/database/entities.ts';
import { loadMigrations, migrate } from '../../src/infrastructure/database/migrations.ts';
import { createPostgresOrm } from '../../src/infrastructure/database/orm.ts';
import { readPostmasterFile, stopPostmaster } from '../../src/infrastructure/database/postmaster.ts';
import { ensureDatabase } from '../../src/infrastructure/database/sql-client.ts';
import { identifyProcess } from '../../src/platform/process-identity.ts';
import { silentLogger } from './silent-logger.ts';

const prefix = 'llmm-test-cluster-';
export const templateDatabase = 'llmm_template';

export type TestCluster = { adminUrl: string; folder: string };

/**
 * One server for a whole jest run, in a temporary folder; its data need not outlive anything, so fsync is off.
 * It outlives this process and is ended by `stopTestCluster`, or by a later run when `ownerPid` is gone.
 */
export async function startTestCluster(ownerPid: number): Promise<TestCluster> {
  await endAbandonedClusters();
  const folder = await mkdtemp(join(tmpdir(), prefix));
  // As root the server runs as another user, who must be able to pass.
  await chmod(folder, 0o711);
  await writeFile(join(folder, 'owner'), String(ownerPid));
  const server = await startEmbeddedPostgres(
    {
      folder: join(folder, 'database'),
      logFile: join(folder, 'postgres.log'),
      logger: silentLogger,
      settings: { fsync: 'off', synchronous_commit: 'off', full_page_writes: 'off', max_connections: '200' },
    },
    AbortSignal.timeout(60_000),
  );
  try {
    await makeTemplate(server.url(templateDatabase));
  } catch (error) {
    await stopTestCluster(folder);
    throw error;
  }
  return { adminUrl: server.url('postgres'), folder };
}

export async function stopTestCluster(folder: string): Promise<void> {
  const running = await readPostmasterFile(join(folder, 'database', 'cluster'));
  if (running) await stopPostmaster(running.pid, AbortSignal.timeout(5_000));
  await rm(folder, { recursive: true, force: true });
}

/** The database that every test file's own is copied from. */
export async function makeTemplate(url: string): Promise<void> {
  const migrations = await loadMigrations();
  await ensureDatabase(url);
  const orm = await createPostgresOrm(url, { entities, migrations, logger: silentLogger });
  try {
    await migrate(orm, migrations, true);
    // While entities are being written their migration may lag behind; a test of its own insists on both agreeing.
    await orm.schema.update();
  } finally {
    await orm.close(true);
  }
}

/** A jest run that was killed leaves its server behind; the next run ends it. */
async function endAbandonedClusters(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    if (!name.startsWith(prefix)) continue;
    const folder = join(tmpdir(), name);
    const owner = Number(await readFile(join(folder, 'owner'), 'utf8').catch(() => ''));
    if (!owner || (await identifyProcess(owner))) continue;
    await stopTestCluster(folder);
  }
}
