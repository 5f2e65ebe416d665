import { outcomeOfCode, type AuditAction, type AuditRecord } from '../../../shared/audit-log.ts';
import type { ErrorCode } from '../../../shared/errors.ts';
import { newId } from '../../../shared/ids.ts';
import type { Role } from '../../../shared/principal.ts';
import { isStorable } from '../../../shared/storable.ts';
import type { AuditRow } from './audit-entry.repository.ts';
import type { AuditEntryView } from './types.ts';

/** Ids of models are the longest that there are. */
const idLengthMax = 300;

export function toRow({ action, actor, target, errorCode, origin }: AuditRecord, at: Date, count = 1): AuditRow {
  return {
    id: newId(),
    at,
    actorKeyId: actor?.keyId ?? null,
    actorOwner: actor?.owner ?? null,
    actorName: actor?.keyName ?? null,
    actorRole: actor?.role ?? null,
    action,
    targetKind: target?.kind ?? null,
    targetId: target?.id && isStorable(target.id) ? target.id.slice(0, idLengthMax) : null,
    outcome: outcomeOfCode(errorCode),
    errorCode,
    count,
    requestId: origin.requestId,
    peerAddress: origin.peer,
  };
}

export function toEntryView(row: AuditRow): AuditEntryView {
  const { id, at, actorKeyId, actorOwner, actorName, actorRole, action, targetKind, targetId, outcome, errorCode, count, requestId, peerAddress } = row;
  return {
    id,
    at,
    // Rows are written by `toRow` alone, from the closed lists.
    actor: actorKeyId === null ? null : { keyId: actorKeyId, owner: actorOwner ?? '', name: actorName, role: actorRole as Role },
    action: action as AuditAction,
    target: targetKind === null ? null : { kind: targetKind, id: targetId },
    outcome,
    errorCode: errorCode as ErrorCode | null,
    count,
    requestId,
    peerAddress,
  };
}
