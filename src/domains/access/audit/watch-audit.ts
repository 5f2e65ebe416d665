import type { EventBus } from '../../../shared/event-bus.ts';
import type { AuditEntryRepository } from './audit-entry.repository.ts';
import { toEntryView } from './audit-view.ts';
import type { AuditEntryView } from './types.ts';

const queueMax = 1_000;
const rowsAtOnce = 100;
/** Told lately, so that what comes by event and from the table is told once. */
const toldMax = 2_000;

export type WatchAuditDeps = { repository: Pick<AuditEntryRepository, 'after' | 'newestId'>; events: EventBus };

/** Entries as they are stored. What the bounded queue of a slow reader had to drop is read from the table. */
export async function* watchAudit({ repository, events }: WatchAuditDeps, signal: AbortSignal): AsyncGenerator<AuditEntryView, void, undefined> {
  // Before the newest one is looked up, so that nothing falls between.
  const deliveries = events.subscribe('audit.logged', { delivery: 'all', queueMax }, signal);
  const told = new Set<string>();
  const isNew = (id: string): boolean => {
    if (told.has(id)) return false;
    told.add(id);
    for (const oldest of told) if (told.size > toldMax) told.delete(oldest);
    return true;
  };
  try {
    let last = await repository.newestId();
    for await (const delivery of deliveries) {
      if (delivery.type === 'resync' || delivery.droppedBefore > 0) {
        for (let rows = await repository.after(last, rowsAtOnce); rows.length > 0; rows = await repository.after(last, rowsAtOnce)) {
          for (const row of rows) if (isNew(row.id)) yield toEntryView(row);
          last = rows.at(-1)?.id ?? last;
        }
      }
      if (delivery.type === 'resync') continue;
      const { entry } = delivery.payload;
      if (isNew(entry.id)) yield toEntryView({ ...entry, at: new Date(entry.at) });
      if (last === null || entry.id > last) last = entry.id;
    }
  } finally {
    await deliveries.return?.();
  }
}
