import { AppError } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import { isId, newId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/logger.ts';
import { hasRole, type Principal } from '../../shared/principal.ts';
import { parseCreateKey } from './access.input.ts';
import type { AdminKeys } from './admin-keys.ts';
import { isUsable, type ApiKeyRepository, type NewKey } from './api-key.repository.ts';
import type { Authenticator } from './authenticator.ts';
import { insertWithNewSecret, makeSecret } from './new-key.ts';
import type { Access, ApiKeyView, CreateApiKey, CreatedApiKey } from './types.ts';

export type AccessServiceDeps = {
  repository: ApiKeyRepository;
  authenticator: Authenticator;
  adminKeys: AdminKeys;
  events: EventBus;
  clock: Clock;
  logger: Logger;
};

export class AccessService implements Access {
  readonly #deps: AccessServiceDeps;

  constructor(deps: AccessServiceDeps) {
    this.#deps = deps;
  }

  async authenticate(credential: string): Promise<Principal | null> {
    return await this.#deps.authenticator.authenticate(credential);
  }

  async recheck(principal: Principal): Promise<Principal | null> {
    return await this.#deps.authenticator.recheck(principal);
  }

  async createKey(input: CreateApiKey, principal: Principal): Promise<CreatedApiKey> {
    const { repository, clock } = this.#deps;
    const now = clock.now();
    const parsed = parseCreateKey(input, now);
    const wanted = { ...parsed, scopes: parsed.scopes ?? [], expiresAt: parsed.expiresAt ?? null };
    await this.#assertHolds(wanted, principal);
    const { secret, key } = await insertWithNewSecret(repository, { ...wanted, id: newId(), createdAt: now });
    this.#log('an API key was made', key.id, principal);
    return { key: toView({ ...key, revokedAt: null, lastUsedAt: null }), secret };
  }

  async revokeKey(id: string, principal: Principal): Promise<ApiKeyView> {
    await this.#assertManages(id, principal);
    const result = await this.#deps.repository.revoke(id, this.#deps.clock.now());
    if ('refused' in result) throw result.refused === 'last_admin' ? lastAdminKey() : notFound();
    this.#changed(id);
    this.#log('an API key was revoked', id, principal);
    return toView(result.row);
  }

  async rotateKey(id: string, principal: Principal): Promise<CreatedApiKey> {
    await this.#assertManages(id, principal);
    const { secret, prefix, hash } = makeSecret();
    const result = await this.#deps.repository.replaceSecret(id, { prefix, hash });
    if ('refused' in result) throw result.refused === 'revoked' ? alreadyRevoked() : notFound();
    this.#changed(id);
    this.#log('an API key got a new secret', id, principal);
    return { key: toView(result.row), secret };
  }

  async listKeys(): Promise<readonly ApiKeyView[]> {
    const rows = await this.#deps.repository.list();
    return rows.map(toView);
  }

  async ensureAdminKey(secret: string | null): Promise<string> {
    return await this.#deps.adminKeys.ensure(secret);
  }

  /** Nobody hands out more than they hold: not a higher role, other scopes, a longer life or another's name. */
  async #assertHolds(wanted: Pick<NewKey, 'owner' | 'role' | 'scopes' | 'expiresAt'>, principal: Principal): Promise<void> {
    const own = isId(principal.keyId) ? await this.#deps.repository.find(principal.keyId) : null;
    if (!own || !isUsable(own, this.#deps.clock.now())) throw new AppError('UNAUTHENTICATED', 'This API key does not work any more.');
    const holder = { ...principal, role: own.role };
    if (!hasRole(holder, 'USER')) throw new AppError('FORBIDDEN', 'A VIEWER key cannot make keys.');
    if (!hasRole(holder, wanted.role)) throw new AppError('FORBIDDEN', `A key of role ${own.role} cannot grant ${wanted.role}.`);
    if (own.role !== 'ADMIN' && wanted.owner !== own.owner) throw new AppError('FORBIDDEN', 'Only an ADMIN makes keys for others.');
    const scopesHeld = own.scopes.length === 0 || (wanted.scopes.length > 0 && wanted.scopes.every((scope) => own.scopes.includes(scope)));
    if (!scopesHeld) throw new AppError('FORBIDDEN', 'A key cannot grant scopes that it does not have.');
    if (own.expiresAt && (!wanted.expiresAt || wanted.expiresAt > own.expiresAt)) throw new AppError('FORBIDDEN', 'A key cannot grant a longer life than its own.');
  }

  /** Others' keys are as good as missing, unless an ADMIN asks. */
  async #assertManages(id: string, principal: Principal): Promise<void> {
    const row = isId(id) ? await this.#deps.repository.find(id) : null;
    if (!row) throw notFound();
    if (principal.role === 'ADMIN') return;
    const isOwn = row.owner === principal.owner && hasRole(principal, row.role) && hasRole(principal, 'USER');
    if (!isOwn) throw notFound();
  }

  #changed(keyId: string): void {
    // At once in this process; the event tells the others and the sockets that the key opened.
    this.#deps.authenticator.forget(keyId);
    this.#deps.events.publish('access.key_changed', keyId, { keyId });
  }

  #log(message: string, keyId: string, principal: Principal): void {
    this.#deps.logger.info({ keyId, by: principal.keyId, owner: principal.owner }, message);
  }
}

function toView(row: ApiKeyView): ApiKeyView {
  const { id, name, owner, role, prefix, scopes, expiresAt, revokedAt, lastUsedAt, createdAt } = row;
  return { id, name, owner, role, prefix, scopes, expiresAt, revokedAt, lastUsedAt, createdAt };
}

function notFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such API key.');
}

function alreadyRevoked(): AppError {
  return new AppError('INVALID_STATE', 'This API key has been revoked; make a new one.', { details: { status: 'revoked', allowed: ['active'] } });
}

function lastAdminKey(): AppError {
  const message = 'This is the last ADMIN key that works: make another one before you revoke it.';
  return new AppError('INVALID_STATE', message, { details: { status: 'last_admin_key', allowed: [] } });
}
