import { defineEntity, p } from '@mikro-orm/core';
import type { StoredError } from '../../shared/errors.ts';
import { storageJobStatuses } from './storage-job.machine.ts';
import { storageJobKinds } from './types.ts';

const StorageJobSchema = defineEntity({
  name: 'StorageJob',
  tableName: 'storage_jobs',
  indexes: [{ properties: ['status'] }],
  properties: {
    id: p.uuid().primary(),
    kind: p.enum(storageJobKinds),
    status: p.enum(storageJobStatuses),
    readBytes: p.bigint('number'),
    /** Null = not known. */
    totalBytes: p.bigint('number').nullable(),
    /** What it was about or what came of it. */
    installedModelIds: p.json<readonly string[]>(),
    /** The download that a repair has made. */
    taskId: p.uuid().nullable(),
    error: p.json<StoredError | null>().nullable(),
    /** The process that works on it. */
    instanceId: p.string(),
    startedAt: p.datetime(),
    finishedAt: p.datetime().nullable(),
  },
});

/** Work on stored models that takes longer than a request. */
export class StorageJob extends StorageJobSchema.class {}
StorageJobSchema.setClass(StorageJob);
