import type { AuditLog } from '../../src/shared/audit-log.ts';

/** For benches whose tests are about something else. */
export const noAudit: AuditLog = { record: () => Promise.resolve() };
