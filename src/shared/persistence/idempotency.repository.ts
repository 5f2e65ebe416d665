import { createHash } from 'node:crypto';
import type { EntityManager } from '@mikro-orm/core';
import { AppError } from '../errors.ts';
import { newId } from '../ids.ts';
import { IdempotencyRecord } from './idempotency.entity.ts';

export type IdempotencyClaim = { owner: string; operation: string; key: string; requestHash: string };

/** The same for inputs that mean the same: order of fields and fields without a value do not count. */
export function hashRequest(input: unknown): string {
  return createHash('sha256').update(JSON.stringify(canonical(input))).digest('hex');
}

/** The result of an earlier call with this key, or null. Throws IDEMPOTENCY_CONFLICT when its input was another. */
export async function findIdempotentResult(em: EntityManager, claim: IdempotencyClaim): Promise<string | null> {
  const { owner, operation, key, requestHash } = claim;
  const record = await em.fork().findOne(IdempotencyRecord, { owner, operation, key });
  return record ? resultOf(record, requestHash) : null;
}

/**
 * Within the transaction that makes `resultId`: null when the key is this call's own, else the earlier result (the
 * caller makes nothing then). A call with the same key that is under way is waited for.
 */
export async function claimIdempotencyKey(tx: EntityManager, claim: IdempotencyClaim, resultId: string, at: Date): Promise<string | null> {
  const { owner, operation, key, requestHash } = claim;
  const row = { id: newId(), owner, operation, key, requestHash, resultId, createdAt: at };
  await tx.upsert(IdempotencyRecord, row, { onConflictFields: ['owner', 'operation', 'key'], onConflictAction: 'ignore' });
  const record = await tx.findOneOrFail(IdempotencyRecord, { owner, operation, key }, { refresh: true });
  return record.id === row.id ? null : resultOf(record, requestHash);
}

/** Keys are remembered for a day at least; whoever runs regular chores calls this. */
export async function purgeIdempotencyRecords(em: EntityManager, before: Date): Promise<number> {
  return await em.fork().nativeDelete(IdempotencyRecord, { createdAt: { $lt: before } });
}

function resultOf(record: IdempotencyRecord, requestHash: string): string {
  if (record.requestHash === requestHash) return record.resultId;
  throw new AppError('IDEMPOTENCY_CONFLICT', 'This idempotency key was used with another input; use a new key.');
}

function canonical(value: unknown): unknown {
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(canonical);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  // Wrapped, so that an object never hashes like an array of pairs.
  return { fields: entries.sort(([left], [right]) => (left < right ? -1 : 1)).map(([name, item]) => [name, canonical(item)]) };
}
