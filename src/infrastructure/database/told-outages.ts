import type { AbstractSqlDriver } from '@mikro-orm/sql';
import { AppError, isAppError } from '../../shared/errors.ts';
import { isOutage } from './outage.ts';

/** A server that is restarted is back within seconds. */
const retryAfterSeconds = 2;

function asOutage(error: unknown): unknown {
  if (isAppError(error) || !isOutage(error)) return error;
  return new AppError('OVERLOADED', 'The database cannot be reached at the moment.', { retryAfterSeconds, cause: error });
}

/**
 * Makes whatever `driver` throws because its server is not there an OVERLOADED, which callers are told, with the time
 * to come back, and which work that can wait takes for a reason to. Everything else is thrown as it was. MikroORM takes
 * a driver's connection from nobody, and begins and commits past its conversion of errors: hence on the instance.
 */
export function tellOutages(driver: AbstractSqlDriver): void {
  const convert = driver.convertException.bind(driver);
  // The type says DriverException; nobody but callers' own `instanceof` relies on it, and an outage is none of theirs.
  driver.convertException = ((error: Error) => asOutage(isAppError(error) ? error : convert(error))) as typeof driver.convertException;
  const connection = driver.getConnection('write');
  const begin = connection.begin.bind(connection);
  const commit = connection.commit.bind(connection);
  connection.begin = (...options) => begin(...options).catch(rethrow);
  connection.commit = (...options) => commit(...options).catch(rethrow);
}

function rethrow(error: unknown): never {
  throw asOutage(error);
}
