import { LRUCache } from 'lru-cache';
import type { Clock } from '../../shared/clock.ts';
import type { Logger } from '../../shared/logger.ts';
import { isId } from '../../shared/ids.ts';
import type { Principal } from '../../shared/principal.ts';
import { hasExpired, isUsable, type ApiKeyRepository } from './api-key.repository.ts';
import type { ApiKey } from './api-key.entity.ts';
import { hashKey, operatorPrefix, parseKey, sameHash } from './key-format.ts';
import { credentialLengthMax } from '../../shared/operator-key.ts';
import { VerifiedKeys } from './verified-keys.ts';

/** `lastUsedAt` is for people: a write for every request would cost more than it tells. */
const touchEveryMs = 60_000;
const touchedKeysMax = 10_000;
/** Compared against when there is no row, so that an unknown key costs what a wrong one does. */
const noHash = '0'.repeat(64);

export type AuthenticatorDeps = { repository: ApiKeyRepository; clock: Clock; logger: Logger };

/** From a credential to a principal, with as few looks at the database as is safe. */
export class Authenticator {
  readonly #deps: AuthenticatorDeps;
  readonly #verified: VerifiedKeys;
  /** Callers that ask for one key at once share one query. Bounded by the requests in flight. */
  readonly #lookups = new Map<string, Promise<Principal | null>>();
  readonly #touchedAt = new LRUCache<string, number>({ max: touchedKeysMax });
  readonly #touches = new Set<Promise<void>>();
  /** The one hash that may come without our key format: LLM_MANAGER_ADMIN_KEY's. */
  #operatorHash = noHash;

  constructor(deps: AuthenticatorDeps) {
    this.#deps = deps;
    this.#verified = new VerifiedKeys(deps.clock);
  }

  async authenticate(credential: string): Promise<Principal | null> {
    if (credential.length > credentialLengthMax) return null;
    const hash = hashKey(credential);
    const prefix = this.#prefixOf(credential, hash);
    if (prefix === null) return null;
    const known = this.#verified.find(hash);
    const now = this.#deps.clock.now();
    const principal = known ? (hasExpired(known, now) ? null : known.principal) : await this.#lookUpOnce(prefix, hash);
    if (principal) this.#touch(principal.keyId);
    return principal;
  }

  async recheck(principal: Principal): Promise<Principal | null> {
    const row = isId(principal.keyId) ? await this.#deps.repository.find(principal.keyId) : null;
    return row && isUsable(row, this.#deps.clock.now()) ? toPrincipal(row) : null;
  }

  acceptOperatorHash(hash: string): void {
    this.#operatorHash = hash;
  }

  forget(keyId: string): void {
    this.#lookups.clear();
    this.#verified.forget(keyId);
  }

  forgetAll(): void {
    this.#lookups.clear();
    this.#verified.forgetAll();
  }

  /** Resolves when the last background write has settled. */
  async settled(): Promise<void> {
    await Promise.all(this.#touches);
  }

  #prefixOf(credential: string, hash: string): string | null {
    const isOperator = sameHash(hash, this.#operatorHash);
    const parsed = parseKey(credential);
    if (parsed) return parsed.prefix;
    return isOperator ? operatorPrefix(hash) : null;
  }

  async #lookUpOnce(prefix: string, hash: string): Promise<Principal | null> {
    const running = this.#lookups.get(hash);
    if (running) return await running;
    const lookup = this.#lookUp(prefix, hash);
    this.#lookups.set(hash, lookup);
    try {
      return await lookup;
    } finally {
      if (this.#lookups.get(hash) === lookup) this.#lookups.delete(hash);
    }
  }

  async #lookUp(prefix: string, hash: string): Promise<Principal | null> {
    const { epoch } = this.#verified;
    const row = await this.#deps.repository.findByPrefix(prefix);
    const isRight = sameHash(row?.hash ?? noHash, hash);
    if (!row || !isRight || !isUsable(row, this.#deps.clock.now())) return null;
    const principal = toPrincipal(row);
    this.#verified.remember(hash, { principal, expiresAt: row.expiresAt }, epoch);
    return principal;
  }

  #touch(keyId: string): void {
    const { clock, repository, logger } = this.#deps;
    const nowMs = clock.monotonicMs();
    const before = this.#touchedAt.get(keyId);
    if (before !== undefined && nowMs - before < touchEveryMs) return;
    this.#touchedAt.set(keyId, nowMs);
    const write = repository.touch(keyId, clock.now()).catch((error: unknown) => logger.warn({ keyId, err: error }, 'the last use of a key could not be stored'));
    this.#touches.add(write);
    void write.finally(() => this.#touches.delete(write));
  }
}

function toPrincipal(row: ApiKey): Principal {
  const { scopes, requestsPerMinute, tokensPerDay, allowedDeployments, expiresAt } = row;
  return Object.freeze({
    keyId: row.id,
    keyName: row.name,
    owner: row.owner,
    role: row.role,
    ...(scopes.length > 0 && { scopes }),
    ...((requestsPerMinute !== null || tokensPerDay !== null) && { limits: { requestsPerMinute, tokensPerDay } }),
    ...(allowedDeployments !== null && { allowedDeployments }),
    ...(expiresAt && { expiresAt }),
  });
}
