import { AppError } from '../../shared/errors.ts';
import { hasRole, hasScope, roles, type Role } from '../../shared/principal.ts';
import type { Narrowing } from './api-key.repository.ts';

/** What a key gives its holder. */
export type Rights = Narrowing & { owner: string; role: Role; expiresAt: Date | null };

/**
 * Throws FORBIDDEN where `wanted` is more than `own`: nobody hands out more than they hold, be it a higher role, other
 * scopes, higher limits, further deployments, a longer life or, below ADMIN, another's name.
 */
export function assertHolds(own: Rights, wanted: Rights): void {
  const refuse = (message: string): never => {
    throw new AppError('FORBIDDEN', message);
  };
  if (roles.indexOf(own.role) > roles.indexOf('USER')) refuse('A VIEWER key cannot make keys.');
  if (!hasRole({ keyId: '', owner: own.owner, role: own.role }, wanted.role)) refuse(`A key of role ${own.role} cannot grant ${wanted.role}.`);
  if (own.role !== 'ADMIN' && wanted.owner !== own.owner) refuse('Only an ADMIN makes keys for others.');
  if (!holdsScopes(own, wanted)) refuse('A key cannot grant scopes that it does not have.');
  if (exceeds(wanted.requestsPerMinute, own.requestsPerMinute) || exceeds(wanted.tokensPerDay, own.tokensPerDay)) refuse('A key cannot grant higher limits than its own.');
  if (!holdsDeployments(own, wanted)) refuse('A key cannot grant deployments that it may not use.');
  if (own.expiresAt && (!wanted.expiresAt || wanted.expiresAt > own.expiresAt)) refuse('A key cannot grant a longer life than its own.');
}

function exceeds(wanted: number | null, own: number | null): boolean {
  return own !== null && (wanted === null || wanted > own);
}

/** None = all that the role has. */
function holdsScopes({ scopes }: Rights, wanted: Rights): boolean {
  return scopes.length === 0 || (wanted.scopes.length > 0 && wanted.scopes.every((scope) => hasScope({ scopes }, scope)));
}

function holdsDeployments({ allowedDeployments: own }: Rights, { allowedDeployments: wanted }: Rights): boolean {
  return own === null || (wanted?.every((id) => own.includes(id)) ?? false);
}
