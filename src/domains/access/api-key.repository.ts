import { LockMode, UniqueConstraintViolationException, type EntityManager } from '@mikro-orm/core';
import { ApiKey } from './api-key.entity.ts';

/** What a key is narrowed to. */
export type Narrowing = Pick<ApiKey, 'scopes' | 'requestsPerMinute' | 'tokensPerDay' | 'allowedDeployments'>;
export const notNarrowed: Narrowing = { scopes: [], requestsPerMinute: null, tokensPerDay: null, allowedDeployments: null };

export type NewKey = Pick<ApiKey, 'id' | 'name' | 'owner' | 'role' | 'prefix' | 'hash' | 'expiresAt' | 'createdAt'> & Narrowing;

export type ChangeResult = { row: ApiKey } | { refused: 'missing' | 'revoked' | 'last_admin' };

const retiredHashesMax = 20;

/** Rows of keys. Every method uses an entity manager of its own, so no row is shared between callers. */
export class ApiKeyRepository {
  readonly #em: EntityManager;

  constructor(em: EntityManager) {
    this.#em = em;
  }

  async findByPrefix(prefix: string): Promise<ApiKey | null> {
    return await this.#em.fork().findOne(ApiKey, { prefix });
  }

  async find(id: string): Promise<ApiKey | null> {
    return await this.#em.fork().findOne(ApiKey, { id });
  }

  /** Newest first. Keys are made by people, one at a time: they are few. */
  async list(): Promise<ApiKey[]> {
    return await this.#em.fork().find(ApiKey, {}, { orderBy: { id: 'desc' } });
  }

  async admins(): Promise<ApiKey[]> {
    return await this.#em.fork().find(ApiKey, { role: 'ADMIN' });
  }

  /** False when the prefix is taken. */
  async insert(key: NewKey): Promise<boolean> {
    const em = this.#em.fork();
    em.create(ApiKey, { ...key, retiredHashes: [], revokedAt: null, lastUsedAt: null });
    try {
      await em.flush();
      return true;
    } catch (error) {
      if (error instanceof UniqueConstraintViolationException) return false;
      throw error;
    }
  }

  /** Revokes unless it would leave no admin key that works. Revoking a revoked key answers it. */
  async revoke(id: string, now: Date): Promise<ChangeResult> {
    return await this.#em.fork().transactional(async (tx): Promise<ChangeResult> => {
      // All admin rows in one order: two admins who revoke each other's key at once cannot both succeed.
      const admins = await lockedAdmins(tx);
      const row = admins.find((key) => key.id === id) ?? (await tx.findOne(ApiKey, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE }));
      if (!row) return { refused: 'missing' };
      if (row.revokedAt) return { row };
      if (isLastAdmin(row, admins, now)) return { refused: 'last_admin' };
      row.revokedAt = now;
      return { row };
    });
  }

  /** `change`: what it is narrowed to from now on, where that changes with it. */
  async replaceSecret(id: string, secret: { prefix: string; hash: string }, { change = {}, now }: { change?: Partial<Narrowing>; now: Date }): Promise<ChangeResult> {
    return await this.#em.fork().transactional(async (tx): Promise<ChangeResult> => {
      // As in `revoke`, in the same order.
      const admins = Object.keys(change).length > 0 ? await lockedAdmins(tx) : [];
      const row = admins.find((key) => key.id === id) ?? (await tx.findOne(ApiKey, { id }, { lockMode: LockMode.PESSIMISTIC_WRITE }));
      if (!row) return { refused: 'missing' };
      if (row.revokedAt) return { refused: 'revoked' };
      if (isLastAdmin(row, admins, now) && !isWhole({ ...narrowingOf(row), ...change })) return { refused: 'last_admin' };
      row.retiredHashes = [...row.retiredHashes, row.hash].slice(-retiredHashesMax);
      row.prefix = secret.prefix;
      row.hash = secret.hash;
      Object.assign(row, change);
      return { row };
    });
  }

  /** Makes a key that was revoked or has expired work again as an admin's. */
  async reinstate(id: string, hash: string): Promise<void> {
    await this.#em.fork().nativeUpdate(ApiKey, { id }, { hash, role: 'ADMIN', revokedAt: null, expiresAt: null, ...notNarrowed });
  }

  /** Keys of earlier LLM_MANAGER_ADMIN_KEY values: no request can present them any more. */
  async deleteSuperseded(prefixStart: string, keepPrefix: string | null): Promise<void> {
    const others = keepPrefix === null ? {} : { $ne: keepPrefix };
    await this.#em.fork().nativeDelete(ApiKey, { prefix: { $like: `${prefixStart.replaceAll('_', '\\_')}%`, ...others }, revokedAt: null });
  }

  async touch(id: string, at: Date): Promise<void> {
    await this.#em.fork().nativeUpdate(ApiKey, { id, $or: [{ lastUsedAt: null }, { lastUsedAt: { $lt: at } }] }, { lastUsedAt: at });
  }
}

async function lockedAdmins(tx: EntityManager): Promise<ApiKey[]> {
  return await tx.find(ApiKey, { role: 'ADMIN', revokedAt: null }, { orderBy: { id: 'asc' }, lockMode: LockMode.PESSIMISTIC_WRITE });
}

function narrowingOf({ scopes, requestsPerMinute, tokensPerDay, allowedDeployments }: Narrowing): Narrowing {
  return { scopes, requestsPerMinute, tokensPerDay, allowedDeployments };
}

/** Nothing of its role is taken from it: one that is narrowed could not make whole ones again. */
function isWhole({ scopes, requestsPerMinute, tokensPerDay, allowedDeployments }: Narrowing): boolean {
  return scopes.length === 0 && requestsPerMinute === null && tokensPerDay === null && allowedDeployments === null;
}

/** An ADMIN's that works and has all that an ADMIN may have. */
export function isWholeAdmin(key: ApiKey, now: Date): boolean {
  return key.role === 'ADMIN' && isUsable(key, now) && isWhole(key);
}

/** Whether nobody could manage the service any more without this key. */
function isLastAdmin(row: ApiKey, admins: readonly ApiKey[], now: Date): boolean {
  return isWholeAdmin(row, now) && !admins.some((key) => key.id !== row.id && isWholeAdmin(key, now));
}

export function isUsable(key: Pick<ApiKey, 'revokedAt' | 'expiresAt'>, now: Date): boolean {
  return key.revokedAt === null && !hasExpired(key, now);
}

export function hasExpired(key: { expiresAt: Date | null }, now: Date): boolean {
  return key.expiresAt !== null && key.expiresAt.getTime() <= now.getTime();
}
