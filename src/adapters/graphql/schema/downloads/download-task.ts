import type { DownloadEvent, DownloadFileView, DownloadTaskView } from '../../../../domains/downloads/types.ts';
import { isId } from '../../../../shared/ids.ts';
import { builder } from '../../builder.ts';
import { enumOf } from '../../enums.ts';
import { Failure } from '../common.ts';
import { ScanReport } from './scan-report.ts';
import { DownloadFileStatus, DownloadStatus, DownloadTarget, OverridableRule } from './enums.ts';

const DownloadFile = builder.objectRef<DownloadFileView>('DownloadFile').implement({
  description: 'One file of a download.',
  fields: (t) => ({
    path: t.exposeString('path', { description: 'Relative to the model, with `/`.' }),
    sizeBytes: t.expose('sizeBytes', { type: 'ByteSize', description: 'Size in bytes.' }),
    downloadedBytes: t.expose('downloadedBytes', { type: 'ByteSize', description: 'What is here of it, in bytes.' }),
    status: t.expose('status', { type: DownloadFileStatus, description: 'Where it stands.' }),
    digest: t.expose('sha256', { type: 'Digest', nullable: true, description: 'SHA-256, once it is known.' }),
    sha256: t.exposeString('sha256', { nullable: true, description: 'The same digest as 64 hexadecimal digits, as checksum tools print it.' }),
    scan: t.expose('scan', { type: ScanReport, nullable: true, description: 'What the scanners say; null until they looked.' }),
  }),
});

export const DownloadTask = builder.objectRef<DownloadTaskView>('DownloadTask');

builder.node(DownloadTask, {
  description: 'One fetch of a model.',
  id: { resolve: (task) => task.id },
  loadOne: (id, { services }) => (isId(id) ? services.downloads.find(id) : null),
  fields: (t) => ({
    taskId: t.exposeID('id', { description: 'Its plain UUID.' }),
    modelId: t.expose('modelId', { type: 'ModelId', description: 'The model that is fetched.' }),
    revision: t.exposeString('revision', { nullable: true, description: 'Commit or manifest digest, once it is known.' }),
    variant: t.exposeString('variant', { nullable: true, description: 'The variant that is fetched; null for a choice of files.' }),
    target: t.expose('target', { type: DownloadTarget, description: 'Where it is put.' }),
    status: t.expose('status', { type: DownloadStatus, description: 'Where it stands.' }),
    queuePosition: t.exposeInt('queuePosition', { nullable: true, description: 'Place in the queue, 1 is next; null unless queued.' }),
    priority: t.exposeInt('priority', { description: 'Higher goes first; -100 to 100, 0 is usual.' }),
    maxBytesPerSecond: t.expose('maxBytesPerSecond', { type: 'ByteSize', nullable: true, description: 'Limit of its own, in bytes per second.' }),
    override: t.field({ type: [OverridableRule], description: 'Rules that were set aside for it.', resolve: (task) => [...task.override] }),
    totalBytes: t.expose('totalBytes', { type: 'ByteSize', nullable: true, description: 'Size of all its files in bytes, once it is known.' }),
    downloadedBytes: t.expose('downloadedBytes', { type: 'ByteSize', description: 'What is here of them, in bytes.' }),
    progress: t.exposeFloat('progress', { description: 'The share that is here, 0 to 1.' }),
    speedBytesPerSecond: t.exposeFloat('speedBytesPerSecond', { description: 'Speed over the last 5 s, in bytes per second.' }),
    etaSeconds: t.exposeFloat('etaSeconds', { nullable: true, description: 'How long it will still take at this speed, in seconds.' }),
    attempt: t.exposeInt('attempt', { description: 'How often it was begun, counted from 1.' }),
    error: t.expose('error', { type: Failure, nullable: true, description: 'Why it failed or waits.' }),
    files: t.field({ type: [DownloadFile], description: 'Its files.', resolve: (task) => [...task.files] }),
    createdAt: t.expose('createdAt', { type: 'DateTime', description: 'When it was asked for.' }),
    startedAt: t.expose('startedAt', { type: 'DateTime', nullable: true, description: 'When it was first begun.' }),
    finishedAt: t.expose('finishedAt', { type: 'DateTime', nullable: true, description: 'When it ended.' }),
  }),
});

const DownloadEventType = enumOf<DownloadEvent['type']>('DownloadEventType', 'What an event about downloads tells.', {
  snapshot: 'The present state; always the first event.',
  progress: 'More bytes are here.',
  status: 'A task is in another state, or its priority or error changed.',
});

export const DownloadProgressEvent = builder.objectRef<DownloadEvent>('DownloadProgressEvent').implement({
  description: 'News of downloads.',
  fields: (t) => ({
    type: t.expose('type', { type: DownloadEventType, description: 'What it tells.' }),
    task: t.field({
      type: DownloadTask,
      nullable: true,
      description: 'The one task that it is about; null for a snapshot of none or of several.',
      resolve: (event) => (event.type === 'snapshot' ? (event.tasks.length === 1 ? (event.tasks[0] ?? null) : null) : event.task),
    }),
    tasks: t.field({
      type: [DownloadTask],
      description: 'The tasks that it is about: all of a snapshot, else one.',
      resolve: (event) => (event.type === 'snapshot' ? [...event.tasks] : [event.task]),
    }),
  }),
});
