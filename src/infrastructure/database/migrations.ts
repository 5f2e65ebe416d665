import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Constructor, MigrationObject } from '@mikro-orm/core';
import { Migration } from '@mikro-orm/migrations';
import type { Orm } from './orm.ts';

export const migrationsFolder = fileURLToPath(new URL('../../../migrations/', import.meta.url));

/** Any fixed number will do, as long as every version of this program uses the same. */
const advisoryLock = 4_747_000_001;

/** The database has migrations that this version of the program does not know. */
export class DatabaseTooNewError extends Error {
  override readonly name = 'DatabaseTooNewError';
}

/** The migrations of `folder` in order of their names, which begin with the time they were made at. */
export async function loadMigrations(folder: string = migrationsFolder): Promise<MigrationObject[]> {
  const files = (await readdir(folder)).filter((name) => /^Migration\w+\.ts$/.test(name)).sort();
  return await Promise.all(files.map(async (file) => ({ name: file.slice(0, -'.ts'.length), class: await loadMigration(join(folder, file)) })));
}

async function loadMigration(path: string): Promise<Constructor<Migration>> {
  const exports = (await import(pathToFileURL(path).href)) as Record<string, unknown>;
  const found = Object.values(exports).find((value) => typeof value === 'function' && value.prototype instanceof Migration);
  if (!found) throw new Error(`${path} exports no migration`);
  return found as Constructor<Migration>;
}

/** Brings the database to this version's schema. `exclusive` false = no other process can be there (PGlite). */
export async function migrate(orm: Orm, known: readonly MigrationObject[], exclusive: boolean): Promise<void> {
  if (!exclusive) {
    await runMigrations(orm, known);
    return;
  }
  // The lock lives on a connection of its own: migrations use others, and the end of this transaction frees it
  // whatever happens.
  await orm.em.getConnection().transactional(async (transaction) => {
    const connection = orm.em.getConnection();
    await connection.execute("set local idle_in_transaction_session_timeout = '0'", [], 'run', transaction);
    await connection.execute('select pg_advisory_xact_lock(?)', [advisoryLock], 'all', transaction);
    await runMigrations(orm, known);
  });
}

async function runMigrations(orm: Orm, known: readonly MigrationObject[]): Promise<void> {
  const names = new Set(known.map((migration) => migration.name));
  const executed = await orm.migrator.getExecuted();
  const unknown = executed.find((row) => !names.has(row.name));
  if (unknown) {
    throw new DatabaseTooNewError(
      `The database was last used by a newer version of llm-manager: it has the migration ${unknown.name}, which this version does not know. Start that version, or use another data folder or database.`,
    );
  }
  if (executed.length < names.size) await orm.migrator.up();
}
