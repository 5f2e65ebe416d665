import { hasCode } from './sql-client.ts';

/** Of the network, a host name that is not known yet included: a container's comes with the container. */
const networkCodes = /^(ECONN(REFUSED|RESET|ABORTED)|E(HOST|NET)UNREACH|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|EPIPE|ENOENT)$/;
/** Starting up, shutting down, too many connections, and the connection class. */
const sqlCodes = /^(57P0[123]|53300|08\w{3})$/;
/** pg tells these without a code. */
const messages = /connection terminated|timeout (expired|exceeded)|connection timeout/i;

/** The server is not there, or not yet: the same may work in a while. A time limit of our own counts. */
export function isOutage(error: unknown): boolean {
  // By its shape: an error of a driver may come from another realm.
  const { name = '', message = '', cause, errors } = (error ?? {}) as { name?: string; message?: string; cause?: unknown; errors?: unknown };
  if (hasCode(error, networkCodes) || hasCode(error, sqlCodes) || name === 'TimeoutError' || messages.test(message)) return true;
  if (Array.isArray(errors) && errors.some(isOutage)) return true;
  return cause !== undefined && cause !== error && isOutage(cause);
}
