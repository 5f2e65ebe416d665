import { defineEntity, p } from '@mikro-orm/core';

const IdempotencyRecordSchema = defineEntity({
  name: 'IdempotencyRecord',
  tableName: 'idempotency_records',
  uniques: [{ properties: ['owner', 'operation', 'key'] }],
  indexes: [{ properties: ['createdAt'] }],
  properties: {
    id: p.uuid().primary(),
    owner: p.string(),
    /** Which use case, e.g. `chat.send`: one key may be used once in each. */
    operation: p.string(),
    key: p.string(),
    requestHash: p.string(),
    /** Row that the first call made. */
    resultId: p.uuid(),
    createdAt: p.datetime(),
  },
});

/** What a caller's idempotency key stands for. Written in the transaction that makes the result. */
export class IdempotencyRecord extends IdempotencyRecordSchema.class {}
IdempotencyRecordSchema.setClass(IdempotencyRecord);
