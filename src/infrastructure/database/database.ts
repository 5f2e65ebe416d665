import { access } from 'node:fs/promises';
import { join } from 'node:path';
import type { PgliteConnection } from '@mikro-orm/pglite';
import type { MigrationObject } from '@mikro-orm/core';
import { abortable } from '../../shared/async.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Secret } from '../config/secret.ts';
import { makePrivateFolder, prepareDataFolder } from '../data-folder/data-folder.ts';
import { waitUntilThere } from '../lifecycle/wait-until-there.ts';
import { acquireLockFile } from '../data-folder/lock-file.ts';
import { clusterFolderOf, startEmbeddedPostgres } from './embedded-postgres.ts';
import { entities as allEntities } from './entities.ts';
import { DatabaseTooNewError, loadMigrations, migrate } from './migrations.ts';
import { isOutage } from './outage.ts';
import { ensureDatabase } from './sql-client.ts';
import { createPgliteOrm, createPostgresOrm } from './orm.ts';
import type { Entities, Orm, OrmOptions } from './orm.ts';
import { EmbeddedPostgresUnavailable } from './postgres-binaries.ts';

export type DatabaseKind = 'embedded-postgres' | 'pglite' | 'postgresql';
export type PgliteClient = Awaited<ReturnType<PgliteConnection['getNativeClient']>>;

export type Database = {
  readonly orm: Orm;
  readonly kind: DatabaseKind;
  /** How others (the job queue, another process) reach the same database. */
  readonly access: { type: 'url'; url: string } | { type: 'pglite'; client: PgliteClient };
  /** Rejects when the database does not answer before the signal aborts. */
  ping(signal: AbortSignal): Promise<void>;
  /** Closes connections and ends an embedded server; at once when the signal aborts. */
  stop(signal: AbortSignal): Promise<void>;
};

export type OpenDatabaseOptions = {
  config: { kind: 'embedded' } | { kind: 'postgresql'; url: Secret };
  dataDir: string;
  logger: Logger;
  entities?: Entities;
  migrations?: readonly MigrationObject[];
};

/** A database that was configured cannot be used; the message says which and why, without its password. */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError';
}

/** Opens the configured database with this version's schema. Callers hold the data folder's lock. */
export async function openDatabase(options: OpenDatabaseOptions, signal: AbortSignal): Promise<Database> {
  const { config, logger } = options;
  const migrations = options.migrations ?? (await loadMigrations());
  const context: Context = { ...options, signal, ormOptions: { entities: options.entities ?? allEntities, migrations, logger } };
  if (config.kind === 'postgresql') return await openByUrl(context, config.url.reveal());
  await prepareDataFolder(options.dataDir);
  if (await usesPglite(options.dataDir)) {
    logger.warn({ room: 'database' }, 'this folder was begun with PGlite, which stays in use: one process, more memory, and writes that a power cut may lose');
    return await openPglite(context);
  }
  try {
    return await openEmbedded(context);
  } catch (error) {
    const mayFallBack = error instanceof EmbeddedPostgresUnavailable && !(await hasCluster(options.dataDir));
    if (!mayFallBack) throw error;
    logger.warn({ reason: error.message }, 'the embedded PostgreSQL cannot run here; using PGlite: one process, more memory, and writes that a power cut may lose');
    return await openPglite(context);
  }
}

type Context = OpenDatabaseOptions & { signal: AbortSignal; ormOptions: OrmOptions };

async function openByUrl(context: Context, url: string): Promise<Database> {
  const { logger, signal, ormOptions } = context;
  try {
    // First by itself: a server that is not there yet is waited for, and one that refuses us is not.
    await waitUntilThere({ what: `PostgreSQL at ${describeUrl(url)} (DATABASE_URL)`, logger, attempt: (limited) => abortable(ensureDatabase(url), limited), isHopeless: (error) => !isOutage(error), attemptTimeoutMs }, signal);
    const orm = await abortable(openPostgres(url, ormOptions), signal);
    return { orm, kind: 'postgresql', access: { type: 'url', url }, ping: pingOf(orm), stop: () => orm.close(true) };
  } catch (error) {
    if (error instanceof DatabaseTooNewError || signal.aborted) throw error;
    const { message, code } = error as NodeJS.ErrnoException;
    throw new DatabaseUnavailableError(`DATABASE_URL: the database at ${describeUrl(url)} cannot be used: ${message || (code ?? '')}`, { cause: error });
  }
}

const attemptTimeoutMs = 10_000;

/** Connects, makes the database when the server has none of that name, and brings it to this version's schema. */
async function openPostgres(url: string, options: OrmOptions): Promise<Orm> {
  await ensureDatabase(url);
  const orm = await createPostgresOrm(url, options);
  try {
    await migrate(orm, options.migrations, true);
    return orm;
  } catch (error) {
    await orm.close(true);
    throw error;
  }
}

function describeUrl(url: string): string {
  const { hostname, port, pathname } = new URL(url);
  return `${hostname}:${port || '5432'}${pathname}`;
}

async function openEmbedded(context: Context): Promise<Database> {
  const { dataDir, logger, ormOptions, signal } = context;
  const server = await startEmbeddedPostgres({ folder: serverFolder(dataDir), logFile: join(dataDir, 'logs', 'postgres.log'), logger }, signal);
  const url = server.url('llm_manager');
  try {
    const orm = await openPostgres(url, ormOptions);
    const stop = async (deadline: AbortSignal): Promise<void> => {
      await orm.close(true);
      await server.stop(deadline);
    };
    return { orm, kind: 'embedded-postgres', access: { type: 'url', url }, ping: pingOf(orm), stop };
  } catch (error) {
    await server.stop(AbortSignal.timeout(stopAfterFaultMs));
    throw error;
  }
}

const stopAfterFaultMs = 5_000;

async function openPglite(context: Context): Promise<Database> {
  const { dataDir, ormOptions } = context;
  // PGlite has no lock of its own, and two processes on one folder lose each other's rows without an error.
  const lock = await acquireLockFile(join(dataDir, 'pglite.lock'));
  // PGlite's own files are as open as the umask lets them be.
  await makePrivateFolder(pgliteFolder(dataDir));
  let orm: Orm | undefined;
  try {
    const opened = await createPgliteOrm(pgliteFolder(dataDir), ormOptions);
    orm = opened;
    await migrate(opened, ormOptions.migrations, false);
    const client = await (opened.em.getConnection() as unknown as PgliteConnection).getNativeClient();
    const stop = async (): Promise<void> => {
      await opened.close(true);
      await lock.release();
    };
    return { orm: opened, kind: 'pglite', access: { type: 'pglite', client }, ping: pingOf(opened), stop };
  } catch (error) {
    await orm?.close(true);
    await lock.release();
    throw error;
  }
}

function pingOf(orm: Orm): Database['ping'] {
  return async (signal) => {
    await abortable(orm.em.getConnection().execute('select 1'), signal);
  };
}

function serverFolder(dataDir: string): string {
  return join(dataDir, 'database');
}

function pgliteFolder(dataDir: string): string {
  return join(dataDir, 'pglite');
}

/** A store that holds data stays the store: another, empty one would look like a loss of everything. */
async function usesPglite(dataDir: string): Promise<boolean> {
  return (await exists(join(pgliteFolder(dataDir), 'PG_VERSION'))) && !(await hasCluster(dataDir));
}

async function hasCluster(dataDir: string): Promise<boolean> {
  return await exists(clusterFolderOf(serverFolder(dataDir)));
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(() => true, () => false);
}
