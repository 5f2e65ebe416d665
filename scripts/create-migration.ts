/**
 * Writes the migration that brings the database from the last snapshot to the entities:
 * `npm run migration:create [-- <name>]`. With `--initial` it replaces every migration by one, which is only right
 * as long as no version has been released.
 */
import { chmod, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Migrator } from '@mikro-orm/migrations';
import { MikroORM } from '@mikro-orm/postgresql';
import { startEmbeddedPostgres } from '../src/infrastructure/database/embedded-postgres.ts';
import { entities } from '../src/infrastructure/database/entities.ts';
import { migrationsFolder } from '../src/infrastructure/database/migrations.ts';
import type { Logger } from '../src/shared/logger.ts';

const initial = process.argv.includes('--initial');
const name = process.argv.slice(2).find((argument) => !argument.startsWith('-'));
const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {}, child: () => silent };

async function createMigration(url: string): Promise<string> {
  const orm = await MikroORM.init({
    clientUrl: url,
    entities: [...entities],
    extensions: [Migrator],
    migrations: { path: migrationsFolder, snapshotName: 'schema.snapshot', snapshotOnMigrate: false, silent: true },
  });
  try {
    if (!initial) await orm.migrator.up();
    return (await orm.migrator.create(undefined, false, initial, initial ? 'initial' : name)).fileName;
  } finally {
    await orm.close(true);
  }
}

if (initial) {
  for (const file of await readdir(migrationsFolder)) {
    if (/^Migration\w+\.ts$/.test(file) || file.endsWith('.snapshot.json')) await rm(join(migrationsFolder, file));
  }
}
const folder = await mkdtemp(join(tmpdir(), 'llmm-migration-'));
// As root the server runs as another user, who must be able to pass.
await chmod(folder, 0o711);
const server = await startEmbeddedPostgres(
  { folder: join(folder, 'database'), logFile: join(folder, 'postgres.log'), logger: silent, settings: { fsync: 'off' } },
  AbortSignal.timeout(60_000),
);
try {
  const file = await createMigration(server.url('llm_manager'));
  console.log(file === '' ? 'The entities have not changed since the last migration.' : `Written: migrations/${file}`);
} finally {
  await server.stop(AbortSignal.timeout(10_000));
  await rm(folder, { recursive: true, force: true });
}
