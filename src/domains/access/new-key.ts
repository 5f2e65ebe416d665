import { AppError } from '../../shared/errors.ts';
import type { ApiKeyRepository, NewKey } from './api-key.repository.ts';
import { hashKey, makeKey, parseKey } from './key-format.ts';

export type NewSecret = { secret: string; prefix: string; hash: string };

export function makeSecret(): NewSecret {
  const secret = makeKey();
  const parsed = parseKey(secret);
  if (!parsed) throw new AppError('INTERNAL', 'A new key could not be made.', { internal: 'makeKey and parseKey disagree' });
  return { secret, prefix: parsed.prefix, hash: hashKey(secret) };
}

/** 62^8 prefixes: a second try is already unlikely, a third one would mean a broken random source. */
const prefixTries = 3;

export async function insertWithNewSecret(repository: ApiKeyRepository, key: Omit<NewKey, 'prefix' | 'hash'>): Promise<{ secret: string; key: NewKey }> {
  for (let attempt = 0; attempt < prefixTries; attempt += 1) {
    const { secret, prefix, hash } = makeSecret();
    const row: NewKey = { ...key, prefix, hash };
    if (await repository.insert(row)) return { secret, key: row };
  }
  throw new AppError('INTERNAL', 'No free key prefix was found.');
}
