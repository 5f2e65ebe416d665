import type { StorageJobKind as Kind, StorageJobView } from '../../../../domains/downloads/types.ts';
import type { StorageJobStatus as Status } from '../../../../domains/downloads/storage-job.machine.ts';
import { isId } from '../../../../shared/ids.ts';
import { builder } from '../../builder.ts';
import { enumOf } from '../../enums.ts';
import { notFound, toUuid } from '../../ids.ts';
import { Failure } from '../common.ts';
import { DownloadTask } from './download-task.ts';
import { InstalledModel } from './installed-model.ts';

const StorageJobKind = enumOf<Kind>('StorageJobKind', 'What is done with stored models.', {
  verify: 'Read and compared with their digests.',
  repair: 'The same, and what is wrong with it fetched again.',
  import: 'Files of this machine taken in.',
  adopt: 'Models of the shared cache taken over.',
});

const StorageJobStatus = enumOf<Status>('StorageJobStatus', 'Where work on stored models stands.', {
  running: 'It goes on, whoever asks.',
  completed: 'Done.',
  failed: 'Ended by an error, or with the service; it may be asked for again.',
  cancelled: 'Somebody ended it; it may be asked for again.',
});

/** No page: a disk holds no more variants of models than this that come at once. */
const modelsMax = 100;

export const StorageJob = builder.objectRef<StorageJobView>('StorageJob');

builder.node(StorageJob, {
  description: 'Work on stored models that goes on after the mutation that began it was answered. Its end can be asked for during a week.',
  id: { resolve: (job) => job.id },
  loadOne: (id, { services }) => (isId(id) ? services.storageJobs.find(id) : null),
  fields: (t) => ({
    storageJobId: t.exposeID('id', { description: 'Its plain UUID.' }),
    kind: t.expose('kind', { type: StorageJobKind, description: 'What is done.' }),
    status: t.expose('status', { type: StorageJobStatus, description: 'Where it stands.' }),
    readBytes: t.expose('readBytes', { type: 'ByteSize', description: 'What has been read so far, in bytes.' }),
    totalBytes: t.expose('totalBytes', { type: 'ByteSize', nullable: true, description: 'What there is to read, in bytes; null while that is not known.' }),
    installedModels: t.field({
      type: [InstalledModel],
      complexity: { field: 1, multiplier: 10 },
      description: 'What it is about, and once it is completed what came of it.',
      resolve: async ({ installedModelIds }, _args, { services }) => {
        const found = await Promise.all(installedModelIds.slice(0, modelsMax).map((id) => services.installed.find(id)));
        return found.filter((model) => model !== null);
      },
    }),
    task: t.field({ type: DownloadTask, nullable: true, description: 'The download that a repair has made; null while it has not, or none was needed.', resolve: ({ taskId }, _args, { services }) => (taskId === null ? null : services.downloads.find(taskId)) }),
    error: t.expose('error', { type: Failure, nullable: true, description: 'Why it failed.' }),
    startedAt: t.expose('startedAt', { type: 'DateTime', description: 'When it was asked for.' }),
    finishedAt: t.expose('finishedAt', { type: 'DateTime', nullable: true, description: 'When it ended.' }),
  }),
});

export const jobDescription = 'Null when it is done. What takes longer than about ten seconds goes on as this job; `storageJob` tells of its end.';

builder.queryField('storageJob', (t) =>
  t.field({
    type: StorageJob,
    nullable: true,
    authScopes: { role: 'VIEWER' },
    description: 'One piece of work on stored models.',
    args: { id: t.arg.id({ required: true, description: 'Plain UUID or global id.' }) },
    resolve: async (_root, { id }, { services }) => {
      const found = await services.storageJobs.find(toUuid('StorageJob', id));
      if (!found) throw notFound('StorageJob');
      return found;
    },
  }),
);
