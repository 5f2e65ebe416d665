import type { EventBus } from '../../../shared/event-bus.ts';
import type { AlertView } from './types.ts';

export type WatchRaisedPorts = {
  events: EventBus;
  open: () => Promise<readonly AlertView[]>;
  find: (id: string) => Promise<AlertView | null>;
};

/** More at once than this are read from the table again. */
const changesMax = 200;

/**
 * The open alerts, then each as it is raised. Subscribed before the first reading, so that none falls in between; where
 * events were lost, or a reader was too slow for them, the open ones are read again and those told that were not.
 */
export async function* watchRaised({ events, open, find }: WatchRaisedPorts, signal: AbortSignal): AsyncGenerator<AlertView> {
  const changes = events.subscribe('alert.changed', { delivery: 'all', queueMax: changesMax }, signal);
  // Of open alerts alone, which are bounded.
  let told = new Set<string>();
  const news = async (): Promise<readonly AlertView[]> => {
    const present = await open();
    const untold = present.filter(({ id }) => !told.has(id));
    told = new Set(present.map(({ id }) => id));
    return untold;
  };
  try {
    yield* await news();
    for await (const delivery of changes) {
      if (delivery.type === 'resync' || delivery.droppedBefore > 0) {
        yield* await news();
        continue;
      }
      const { alertId, status } = delivery.payload;
      if (status === 'resolved') told.delete(alertId);
      if (status !== 'firing' || told.has(alertId)) continue;
      const alert = await find(alertId);
      if (!alert) continue;
      if (alert.status !== 'resolved') told.add(alertId);
      yield alert;
    }
  } finally {
    await changes.return?.();
  }
}
