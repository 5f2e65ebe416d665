import { defineEntity, p } from '@mikro-orm/core';
import { auditOutcomes } from '../../../shared/audit-log.ts';

const AuditEntrySchema = defineEntity({
  name: 'AuditEntry',
  tableName: 'audit_entries',
  // Each list goes by one of them, newest first.
  indexes: [{ properties: ['actorKeyId', 'id'] }, { properties: ['actorOwner', 'id'] }, { properties: ['action', 'id'] }, { properties: ['targetId', 'id'] }],
  properties: {
    id: p.uuid().primary(),
    at: p.datetime(),
    /** No reference: the entry outlives the key. */
    actorKeyId: p.uuid().strictNullable(),
    actorOwner: p.string().strictNullable(),
    actorName: p.string().strictNullable(),
    actorRole: p.string().strictNullable(),
    action: p.string(),
    targetKind: p.string().strictNullable(),
    targetId: p.string().strictNullable(),
    outcome: p.enum(auditOutcomes),
    errorCode: p.string().strictNullable(),
    /** How many equal ones this entry stands for. */
    count: p.integer(),
    requestId: p.string(),
    peerAddress: p.string().strictNullable(),
  },
});

/** What was done or tried through the API. Never updated. */
export class AuditEntry extends AuditEntrySchema.class {}
AuditEntrySchema.setClass(AuditEntry);
