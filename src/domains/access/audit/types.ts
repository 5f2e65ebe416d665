import type { AuditAction, AuditOutcome, AuditTarget } from '../../../shared/audit-log.ts';
import type { ErrorCode } from '../../../shared/errors.ts';
import type { Page, PageRequest } from '../../../shared/paging.ts';
import type { Role } from '../../../shared/principal.ts';

export type AuditActor = { keyId: string; owner: string; name: string | null; role: Role };

export type AuditEntryView = {
  id: string;
  at: Date;
  /** Null when nobody had shown a good key. */
  actor: AuditActor | null;
  action: AuditAction;
  target: AuditTarget | null;
  outcome: AuditOutcome;
  errorCode: ErrorCode | null;
  /** How many equal ones within a minute it stands for; only what did not succeed is counted together. */
  count: number;
  requestId: string;
  peerAddress: string | null;
};

export type AuditFilter = {
  /** Id of a key, or name of an owner. */
  actor?: string;
  /** An action, or a group of them such as `deployment`. */
  action?: string;
  /** Id of what it was done to, or a kind of things. */
  target?: string;
  since?: Date;
  /** Up to but without this time. */
  until?: Date;
};

/** Reading the audit log; for administrators alone. */
export type AuditTrail = {
  /** Newest first. Throws VALIDATION_FAILED for an action that there is not. */
  list(filter: AuditFilter, page: PageRequest): Promise<Page<AuditEntryView>>;
  find(id: string): Promise<AuditEntryView | null>;
  /** What is recorded from now on, in any process. A reader that falls behind is given what it missed from the table. */
  watch(signal: AbortSignal): AsyncIterable<AuditEntryView>;
};
