import type { ErrorCode } from './errors.ts';
import type { Principal } from './principal.ts';

/** What is recorded, as `group.verb`: the closed list of actions. Each is an attempt; its outcome stands beside it. */
export const auditActions = [
  'download.start',
  'download.pause',
  'download.resume',
  'download.cancel',
  'download.retry',
  'download.prioritize',
  'download.remove',
  'download.limit',
  'storage.verify',
  'storage.repair',
  'storage.delete',
  'storage.import',
  'storage.adopt',
  'storage.cancel',
  'deployment.start',
  'deployment.stop',
  'deployment.restart',
  'deployment.update',
  'deployment.delete',
  'chat.delete',
  'chat.export',
  'chat.import',
  'key.create',
  'key.revoke',
  'key.rotate',
  'alert_rule.create',
  'alert_rule.update',
  'alert_rule.delete',
  'alert.acknowledge',
  /** Somebody showed a key that is not good. */
  'access.authenticate',
  /** A good key asked for what it may not have. */
  'access.authorize',
] as const;

export type AuditAction = (typeof auditActions)[number];

/** `denied`: for want of a good key or of rights; `failed`: for any other reason. */
export const auditOutcomes = ['succeeded', 'denied', 'failed'] as const;
export type AuditOutcome = (typeof auditOutcomes)[number];

/** What something was done to: the kind of thing, and its id where there is one. */
export type AuditTarget = { kind: string; id: string | null };

/** Where a request came from. */
export type RequestOrigin = {
  requestId: string;
  /** Address of the peer of the connection; null where there is none, as on a socket file. */
  peer: string | null;
};

export type AuditRecord = {
  action: AuditAction;
  /** Null when nobody has shown a good key. */
  actor: Principal | null;
  target: AuditTarget | null;
  /** Null = it succeeded. */
  errorCode: ErrorCode | null;
  origin: RequestOrigin;
};

/**
 * The one door to the audit log. It takes names and ids; texts, prompts, secrets and paths have no field to stand in.
 */
export type AuditLog = {
  /**
   * Resolves when the entry is stored, or after a second where the database does not take it: it is then stored later,
   * or told in the log when that is over. What did not succeed is counted together when it repeats, and resolves at
   * once. Never rejects.
   */
  record(record: AuditRecord): Promise<void>;
};

export function outcomeOfCode(code: ErrorCode | null): AuditOutcome {
  if (code === null) return 'succeeded';
  return code === 'UNAUTHENTICATED' || code === 'FORBIDDEN' ? 'denied' : 'failed';
}
