import { AppError, validationFailed } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import type { EventBus } from '../../shared/event-bus.ts';
import { isId, newId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/logger.ts';
import { hasRole, type Principal } from '../../shared/principal.ts';
import { parseCreateKey, parseNarrowing, type ParsedNarrowing } from './access.input.ts';
import type { AdminKeys } from './admin-keys.ts';
import type { ApiKey } from './api-key.entity.ts';
import { isUsable, notNarrowed, type ApiKeyRepository, type Narrowing } from './api-key.repository.ts';
import type { Authenticator } from './authenticator.ts';
import { assertHolds, type Rights } from './holds.ts';
import { insertWithNewSecret, makeSecret } from './new-key.ts';
import type { Access, ApiKeyView, CreateApiKey, CreatedApiKey, NarrowKey } from './types.ts';

/** The id of the deployment that is named, or whose id it is; null when there is none. */
export type FindDeployment = (nameOrId: string) => Promise<string | null>;

export type AccessServiceDeps = {
  repository: ApiKeyRepository;
  authenticator: Authenticator;
  adminKeys: AdminKeys;
  findDeployment: FindDeployment;
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
    const { name, owner, role, expiresAt = null, ...given } = parsed;
    const wanted = { name, owner, role, expiresAt, ...notNarrowed, ...(await this.#toNarrowing(given)) };
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

  async rotateKey(id: string, principal: Principal, given: NarrowKey = {}): Promise<CreatedApiKey> {
    const before = await this.#assertManages(id, principal);
    const change = await this.#toNarrowing(parseNarrowing(given));
    // Whoever gets the new secret holds what the key gives, before and after the change.
    await this.#assertHolds(before, principal);
    await this.#assertHolds({ ...rightsOf(before), ...change }, principal);
    const { secret, prefix, hash } = makeSecret();
    const result = await this.#deps.repository.replaceSecret(id, { prefix, hash }, { change, now: this.#deps.clock.now() });
    if ('refused' in result) throw result.refused === 'revoked' ? alreadyRevoked() : result.refused === 'last_admin' ? lastAdminKey() : notFound();
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

  async #assertHolds(wanted: Rights, principal: Principal): Promise<void> {
    const own = isId(principal.keyId) ? await this.#deps.repository.find(principal.keyId) : null;
    if (!own || !isUsable(own, this.#deps.clock.now())) throw new AppError('UNAUTHENTICATED', 'This API key does not work any more.');
    assertHolds(own, wanted);
  }

  /** Only what is given. Throws VALIDATION_FAILED for a deployment that there is not. */
  async #toNarrowing({ scopes, limits, allowedDeployments }: ParsedNarrowing): Promise<Partial<Narrowing>> {
    return {
      ...(scopes && { scopes }),
      ...(limits && { requestsPerMinute: limits.requestsPerMinute ?? null, tokensPerDay: limits.tokensPerDay ?? null }),
      ...(allowedDeployments && { allowedDeployments: await Promise.all(allowedDeployments.map((name) => this.#deploymentId(name))) }),
    };
  }

  async #deploymentId(nameOrId: string): Promise<string> {
    const id = await this.#deps.findDeployment(nameOrId);
    if (id === null) throw validationFailed([{ field: 'allowed_deployments', message: `there is no deployment ${JSON.stringify(nameOrId)}` }]);
    return id;
  }

  /** Others' keys are as good as missing, unless an ADMIN asks. */
  async #assertManages(id: string, principal: Principal): Promise<ApiKey> {
    const row = isId(id) ? await this.#deps.repository.find(id) : null;
    if (!row) throw notFound();
    if (principal.role === 'ADMIN') return row;
    const isOwn = row.owner === principal.owner && hasRole(principal, row.role) && hasRole(principal, 'USER');
    if (!isOwn) throw notFound();
    return row;
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

function rightsOf({ owner, role, expiresAt, scopes, requestsPerMinute, tokensPerDay, allowedDeployments }: ApiKey): Rights {
  return { owner, role, expiresAt, scopes, requestsPerMinute, tokensPerDay, allowedDeployments };
}

function toView(row: Omit<ApiKeyView, 'limits'> & Narrowing): ApiKeyView {
  const { id, name, owner, role, prefix, scopes, requestsPerMinute, tokensPerDay, allowedDeployments, expiresAt, revokedAt, lastUsedAt, createdAt } = row;
  return { id, name, owner, role, prefix, scopes, limits: { requestsPerMinute, tokensPerDay }, allowedDeployments, expiresAt, revokedAt, lastUsedAt, createdAt };
}

function notFound(): AppError {
  return new AppError('NOT_FOUND', 'There is no such API key.');
}

function alreadyRevoked(): AppError {
  return new AppError('INVALID_STATE', 'This API key has been revoked; make a new one.', { details: { status: 'revoked', allowed: ['active'] } });
}

function lastAdminKey(): AppError {
  const message = 'This is the last ADMIN key that works and is not narrowed: make another one first.';
  return new AppError('INVALID_STATE', message, { details: { status: 'last_admin_key', allowed: [] } });
}
