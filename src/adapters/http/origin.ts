import type { IncomingMessage } from 'node:http';
import type { AuditLog, AuditRecord, RequestOrigin } from '../../shared/audit-log.ts';
import { isAppError } from '../../shared/errors.ts';
import type { Principal } from '../../shared/principal.ts';
import { requestIdOf } from './upgrade.ts';

/** From a credential to who it belongs to, on every transport; null for one that is not good. */
export type Authenticate = (credential: string, origin: RequestOrigin) => Promise<Principal | null>;

/** Address of the other end of the connection, a proxy's where there is one: what headers say of others can be made up. */
export function peerOf(req: Pick<IncomingMessage, 'socket'>): string | null {
  return req.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, '') ?? null;
}

export function originOf(req: IncomingMessage): RequestOrigin {
  return { requestId: requestIdOf(req), peer: peerOf(req) };
}

/** Looks at credentials, and records those that are not good. */
export function createAuthenticate(access: { authenticate(credential: string): Promise<Principal | null> }, audit: AuditLog): Authenticate {
  return async (credential, origin) => {
    const principal = await access.authenticate(credential);
    if (!principal) void audit.record({ action: 'access.authenticate', actor: null, target: null, errorCode: 'UNAUTHENTICATED', origin });
    return principal;
  };
}

/** Does what is to be recorded; the entry is stored before this resolves. */
export async function recorded<T>(audit: AuditLog, record: Omit<AuditRecord, 'errorCode'>, work: () => Promise<T>): Promise<T> {
  let result: T;
  try {
    result = await work();
  } catch (error) {
    await audit.record({ ...record, errorCode: isAppError(error) ? error.code : 'INTERNAL' });
    throw error;
  }
  await audit.record({ ...record, errorCode: null });
  return result;
}

/** Records that somebody was refused what the key may not do; `what` is a route or a field. */
export function recordDenied(audit: AuditLog, principal: Principal | null, what: { kind: string; id: string }, origin: RequestOrigin): void {
  if (principal) void audit.record({ action: 'access.authorize', actor: principal, target: what, errorCode: 'FORBIDDEN', origin });
}
