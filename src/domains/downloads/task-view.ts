import type { DownloadFigures } from '../../shared/event-bus.ts';
import { activeStatuses } from './download.machine.ts';
import type { FileRow, TaskRow, TaskWithFiles } from './download.repository.ts';
import type { DownloadFileStatus, DownloadFileView, DownloadTaskView } from './types.ts';

export type Extras = { figures: DownloadFigures | null; queuePosition: number | null };

/** The row, with what is known of the running transfer laid over it. */
export function toTaskView({ task, files }: TaskWithFiles, { figures, queuePosition }: Extras): DownloadTaskView {
  const live = activeStatuses.includes(task.status) ? figures : null;
  const columns = nullable(task);
  const downloadedBytes = live?.downloadedBytes ?? task.downloadedBytes;
  const moving = task.status === 'running' ? live : null;
  return {
    ...columns,
    id: task.id,
    modelId: task.modelId,
    target: task.target,
    status: task.status,
    queuePosition: task.status === 'queued' ? queuePosition : null,
    priority: task.priority,
    override: task.override,
    downloadedBytes,
    progress: progressOf(task.status === 'completed', downloadedBytes, columns.totalBytes),
    speedBytesPerSecond: moving?.speedBytesPerSecond ?? 0,
    etaSeconds: moving?.etaSeconds ?? null,
    attempt: task.attempt,
    files: files.map((file) => toFileView(file, live)),
    createdAt: task.createdAt,
  };
}

/** The columns that may be empty; the ORM may leave an empty one undefined. */
function nullable(task: TaskRow) {
  return {
    revision: task.revision ?? task.requestedRevision ?? null,
    variant: task.variant ?? null,
    maxBytesPerSecond: task.maxBytesPerSecond ?? null,
    totalBytes: task.totalBytes ?? null,
    error: task.error ?? null,
    startedAt: task.startedAt ?? null,
    finishedAt: task.finishedAt ?? null,
  };
}

function progressOf(isCompleted: boolean, downloadedBytes: number, totalBytes: number | null): number {
  if (isCompleted) return 1;
  return totalBytes === null || totalBytes === 0 ? 0 : Math.min(1, downloadedBytes / totalBytes);
}

function toFileView(file: FileRow, live: DownloadFigures | null): DownloadFileView {
  const moving = live?.files.find(({ path }) => path === file.path);
  return {
    path: file.path,
    sizeBytes: file.sizeBytes,
    downloadedBytes: moving?.downloadedBytes ?? file.downloadedBytes,
    status: moving ? statusOf(moving.status) : restingStatus(file.status),
    sha256: file.sha256 ?? null,
    scan: file.scan ?? null,
  };
}

/** Figures come from our own runner, through an event map that cannot name the domain's type. */
function statusOf(status: string): DownloadFileStatus {
  return status as DownloadFileStatus;
}

/** Nobody works on a file of a task that no runner speaks of, whatever its row was left saying. */
function restingStatus(status: DownloadFileStatus): DownloadFileStatus {
  return status === 'running' || status === 'verifying' ? 'pending' : status;
}

/** The view of an earlier moment brought up to date without asking the database. */
export function withFigures(view: DownloadTaskView, figures: DownloadFigures): DownloadTaskView {
  if (!activeStatuses.includes(view.status)) return view;
  const byPath = new Map(figures.files.map((file) => [file.path, file]));
  const isRunning = view.status === 'running';
  return {
    ...view,
    downloadedBytes: figures.downloadedBytes,
    totalBytes: figures.totalBytes ?? view.totalBytes,
    progress: progressOf(false, figures.downloadedBytes, figures.totalBytes ?? view.totalBytes),
    speedBytesPerSecond: isRunning ? figures.speedBytesPerSecond : 0,
    etaSeconds: isRunning ? figures.etaSeconds : null,
    files: view.files.map((file) => {
      const moving = byPath.get(file.path);
      return moving ? { ...file, downloadedBytes: moving.downloadedBytes, status: statusOf(moving.status) } : file;
    }),
  };
}
