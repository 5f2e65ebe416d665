import type { Delivery, EventBus } from '../../shared/event-bus.ts';
import { isUnfinished } from './download.machine.ts';
import { withFigures } from './task-view.ts';
import type { DownloadEvent, DownloadTaskView } from './types.ts';

export type WatchPorts = {
  events: EventBus;
  find: (id: string) => Promise<DownloadTaskView | null>;
  unfinished: () => Promise<readonly DownloadTaskView[]>;
};

const progressEveryMs = 250;
const changesMax = 1_000;

/**
 * Subscribed before the snapshot is read, so that nothing falls in between. Progress is laid over the last known row
 * without asking the database; a change of state reads the row.
 */
export async function* watchDownloads(ports: WatchPorts, taskId: string | null, signal: AbortSignal): AsyncGenerator<DownloadEvent> {
  const ended = new AbortController();
  const own = AbortSignal.any([signal, ended.signal]);
  const key = taskId === null ? {} : { key: taskId };
  const changes = ports.events.subscribe('download.changed', { ...key, delivery: 'all', queueMax: changesMax }, own);
  const progress = ports.events.subscribe('download.progress', { ...key, delivery: 'latest', minIntervalMs: progressEveryMs }, own);
  const known = new Map<string, DownloadTaskView>();
  try {
    yield await snapshot(ports, taskId, known);
    let change = changes.next();
    let figure = progress.next();
    for (;;) {
      const next = await Promise.race([change.then((result) => ({ from: 'changes' as const, result })), figure.then((result) => ({ from: 'progress' as const, result }))]);
      if (next.result.done) return;
      if (next.from === 'changes') {
        const outcome = await onChange(next.result.value, ports, known, taskId);
        if (outcome === 'gone') return;
        if (outcome) yield outcome;
        change = changes.next();
      } else {
        const event = await onProgress(next.result.value, ports, known, taskId);
        if (event) yield event;
        figure = progress.next();
      }
    }
  } finally {
    ended.abort();
  }
}

async function snapshot({ find, unfinished }: WatchPorts, taskId: string | null, known: Map<string, DownloadTaskView>): Promise<DownloadEvent> {
  const one = taskId === null ? null : await find(taskId);
  const tasks = taskId === null ? await unfinished() : one ? [one] : [];
  known.clear();
  for (const task of tasks) known.set(task.id, task);
  return { type: 'snapshot', tasks };
}

async function onChange(
  delivery: Delivery<'download.changed'>,
  ports: WatchPorts,
  known: Map<string, DownloadTaskView>,
  taskId: string | null,
): Promise<DownloadEvent | 'gone' | null> {
  // Too many changes at once, or a lost connection: the state itself is quicker to read than what led to it.
  if (delivery.type === 'resync' || delivery.droppedBefore > 0) return await snapshot(ports, taskId, known);
  const { taskId: id, removed } = delivery.payload;
  const task = removed ? null : await ports.find(id);
  if (!task) {
    known.delete(id);
    return taskId === null ? null : 'gone';
  }
  if (taskId !== null || isUnfinished(task.status)) known.set(id, task);
  else known.delete(id);
  return { type: 'status', task };
}

async function onProgress(
  delivery: Delivery<'download.progress'>,
  ports: WatchPorts,
  known: Map<string, DownloadTaskView>,
  taskId: string | null,
): Promise<DownloadEvent | null> {
  if (delivery.type === 'resync') return await snapshot(ports, taskId, known);
  const { taskId: id, progress } = delivery.payload;
  const view = known.get(id) ?? (await ports.find(id));
  // Figures that were on their way when the task ended.
  if (!view || !isUnfinished(view.status)) return null;
  const task = withFigures(view, progress);
  known.set(id, task);
  return { type: 'progress', task };
}
