import { availableParallelism } from 'node:os';
import type { AnyEntity, EntityClass, EntitySchema, MikroORM } from '@mikro-orm/core';
import type { AbstractSqlDriver } from '@mikro-orm/sql';
import { Migrator } from '@mikro-orm/migrations';
import type { MigrationObject } from '@mikro-orm/core';
import type { Logger } from '../../shared/logger.ts';
import type { ClientPool } from './client-pool.ts';
import { releaseDeadClients } from './dead-clients.ts';
import { quickenLiterals } from './literals.ts';
import { prepareStatements } from './prepared-statements.ts';
import { tellOutages } from './told-outages.ts';

export type Orm = MikroORM<AbstractSqlDriver>;
export type Entities = readonly (EntityClass<AnyEntity> | EntitySchema)[];

export type OrmOptions = {
  entities: Entities;
  migrations: readonly MigrationObject[];
  logger: Logger;
};

/**
 * Requests, the queue's events and background work share them. Four a core: statements that run side by side beyond that
 * take the processor from each other, and from this process where the database is on its machine. Far below the
 * embedded server's 60.
 */
const connectionsMax = Math.min(16, Math.max(8, 4 * availableParallelism()));
const connectTimeoutMs = 10_000;

export async function createPostgresOrm(url: string, options: OrmOptions): Promise<Orm> {
  const { MikroORM: PostgresOrm, PostgreSqlDriver } = await import('@mikro-orm/postgresql');
  const orm = await PostgresOrm.init<AbstractSqlDriver>({
    ...commonOptions(options),
    driver: PostgreSqlDriver,
    clientUrl: url,
    pool: { min: 0, max: connectionsMax },
    driverOptions: { connectionTimeoutMillis: connectTimeoutMs, application_name: 'llm-manager', keepAlive: true, onPoolCreated: preparePool },
  });
  tellOutages(orm.driver);
  quickenLiterals(orm.driver);
  return orm;
}

function preparePool(pool: ClientPool): void {
  releaseDeadClients(pool);
  prepareStatements(pool);
}

/** `folder` null = in memory. The driver is loaded here only: its WebAssembly takes memory that most never need. */
export async function createPgliteOrm(folder: string | null, options: OrmOptions): Promise<Orm> {
  const { MikroORM: PgliteOrm, PgliteDriver } = await import('@mikro-orm/pglite');
  // What searches in chats go by; PGlite has only the extensions that it is given when it is opened.
  const { pg_trgm: trigrams } = await import('@electric-sql/pglite/contrib/pg_trgm');
  const orm = await PgliteOrm.init<AbstractSqlDriver>({ ...commonOptions(options), driver: PgliteDriver, dbName: folder ?? 'memory://', driverOptions: { extensions: { pg_trgm: trigrams } } });
  quickenLiterals(orm.driver);
  return orm;
}

function commonOptions(options: OrmOptions) {
  return {
    entities: [...options.entities],
    extensions: [Migrator],
    discovery: { warnWhenNoEntities: false },
    ensureDatabase: false,
    // The generator script keeps the snapshot; a running service may stand on a read-only file system.
    migrations: { migrationsList: [...options.migrations], snapshot: false, silent: true },
    logger: (message: string) => options.logger.warn({ room: 'orm' }, message),
  };
}
