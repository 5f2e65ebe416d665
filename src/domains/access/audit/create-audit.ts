import type { SqlEntityManager } from '@mikro-orm/sql';
import { auditActions, type AuditLog, type AuditRecord } from '../../../shared/audit-log.ts';
import { abortable } from '../../../shared/async.ts';
import type { Clock } from '../../../shared/clock.ts';
import { validationFailed } from '../../../shared/errors.ts';
import type { EventBus } from '../../../shared/event-bus.ts';
import type { Logger } from '../../../shared/logger.ts';
import { AuditEntryRepository } from './audit-entry.repository.ts';
import { toEntryView, toRow } from './audit-view.ts';
import { AuditWriter } from './audit-writer.ts';
import { RefusalCounter } from './refusal-counter.ts';
import type { AuditFilter, AuditTrail } from './types.ts';
import { watchAudit } from './watch-audit.ts';

export type AuditDeps = { em: SqlEntityManager; events: EventBus; clock: Clock; logger: Logger };

export type AuditModule = {
  log: AuditLog;
  trail: AuditTrail;
  /** Removes what is from before `before`, or more than `entriesMax` of what was done; answers how many. */
  purge(before: Date, entriesMax: number): Promise<number>;
  /** Stores what waits. */
  stop(): Promise<void>;
};

/** A caller is not held up longer than this by a database that does not take its entry. */
const storedWaitMs = 1_000;
/** What did not succeed gets so many of the entries beside the others. */
const othersShare = 0.1;

/** Wires the audit log together. */
export function createAudit({ em, events, clock, logger: parent }: AuditDeps): AuditModule {
  const logger = parent.child({ room: 'audit' });
  const repository = new AuditEntryRepository(em);
  const writer = new AuditWriter({ repository, events, clock, logger });
  const refusals = new RefusalCounter((record, count) => void writer.add(toRow(record, clock.now(), count)));
  const log: AuditLog = { record: (record) => keep(record, { writer, refusals, clock }) };
  const trail: AuditTrail = {
    async list(filter, page) {
      assertFilter(filter);
      const rows = await repository.list(filter, page);
      return { ...rows, items: rows.items.map(toEntryView) };
    },
    async find(id) {
      const row = await repository.find(id);
      return row && toEntryView(row);
    },
    watch: (signal) => watchAudit({ repository, events }, signal),
  };
  const purge: AuditModule['purge'] = (before, entriesMax) =>
    repository.purge({ before, succeededMax: entriesMax, othersMax: Math.ceil(entriesMax * othersShare) });
  const stop = async (): Promise<void> => {
    refusals.flush();
    await writer.stop();
  };
  return { log, trail, purge, stop };
}

async function keep(record: AuditRecord, { writer, refusals, clock }: { writer: AuditWriter; refusals: RefusalCounter; clock: Clock }): Promise<void> {
  if (record.errorCode !== null) {
    refusals.add(record);
    return;
  }
  const stored = writer.add(toRow(record, clock.now()));
  await abortable(stored, AbortSignal.timeout(storedWaitMs)).catch(() => undefined);
}

function assertFilter({ action }: AuditFilter): void {
  if (action === undefined || auditActions.some((known) => known === action || known.startsWith(`${action}.`))) return;
  throw validationFailed([{ field: 'action', message: `must be one of ${auditActions.join(', ')}, or what stands before the dot` }]);
}
