import { validationFailed } from '../../shared/errors.ts';
import type { Clock } from '../../shared/clock.ts';
import { newId } from '../../shared/ids.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Authenticator } from './authenticator.ts';
import type { ApiKey } from './api-key.entity.ts';
import { isUsable, isWholeAdmin, notNarrowed, type ApiKeyRepository } from './api-key.repository.ts';
import { hashKey, operatorPrefix, operatorPrefixStart, parseKey, sameHash } from './key-format.ts';
import { isOperatorKey } from '../../shared/operator-key.ts';
import { insertWithNewSecret } from './new-key.ts';

export type AdminKeysDeps = { repository: ApiKeyRepository; authenticator: Authenticator; clock: Clock; logger: Logger };

const adminOwner = 'admin';

/** The admin keys that the machine's operator brings or gets at a start, before anybody can ask for one. */
export class AdminKeys {
  readonly #deps: AdminKeysDeps;

  constructor(deps: AdminKeysDeps) {
    this.#deps = deps;
  }

  async ensure(secret: string | null): Promise<string> {
    if (secret === null) return await this.#make();
    if (parseKey(secret) === null && !isOperatorKey(secret)) {
      throw validationFailed([{ field: 'LLM_MANAGER_ADMIN_KEY', message: 'must be 16 to 256 printable ASCII characters without spaces' }]);
    }
    await this.#ensureRow(secret);
    return secret;
  }

  async #make(): Promise<string> {
    const { repository, clock } = this.#deps;
    const { secret } = await insertWithNewSecret(repository, { id: newId(), ...adminFields, createdAt: clock.now() });
    return secret;
  }

  async #ensureRow(secret: string): Promise<void> {
    const { repository, authenticator, clock } = this.#deps;
    const hash = hashKey(secret);
    const ownPrefix = parseKey(secret)?.prefix ?? null;
    const prefix = ownPrefix ?? operatorPrefix(hash);
    if (ownPrefix === null) {
      await repository.deleteSuperseded(operatorPrefixStart, prefix);
      authenticator.acceptOperatorHash(hash);
    }
    if (!(await this.#settleExisting(prefix, hash))) {
      // False: another process that starts at the same moment has just made it.
      await repository.insert({ id: newId(), ...adminFields, prefix, hash, createdAt: clock.now() });
    }
    authenticator.forgetAll();
  }

  /** True when nothing is to be inserted: the key is there, or was taken back on purpose. */
  async #settleExisting(prefix: string, hash: string): Promise<boolean> {
    const { repository, clock, logger } = this.#deps;
    const admins = await repository.admins();
    const row = admins.find((key) => key.prefix === prefix) ?? (await repository.findByPrefix(prefix));
    const isRetired = admins.some((key) => key.retiredHashes.includes(hash));
    if (!row && !isRetired) return false;
    const now = clock.now();
    if (row && isCurrent(row, hash, now)) return true;
    if (admins.some((key) => isWholeAdmin(key, now))) {
      logger.warn({ prefix }, 'the given admin key was revoked or replaced earlier and stays so; use another admin key');
      return true;
    }
    // Nobody could get in any more; who can set the environment or the data folder owns the service anyway.
    logger.warn({ prefix }, 'no admin key works any more: the given one is valid again');
    if (row) await repository.reinstate(row.id, hash);
    return row !== null;
  }
}

const adminFields = { name: 'admin', owner: adminOwner, role: 'ADMIN' as const, expiresAt: null, ...notNarrowed };

function isCurrent(row: ApiKey, hash: string, now: Date): boolean {
  return row.role === 'ADMIN' && isUsable(row, now) && sameHash(row.hash, hash);
}
