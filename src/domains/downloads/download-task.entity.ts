import { defineEntity, p } from '@mikro-orm/core';
import type { StoredError } from '../../shared/errors.ts';
import { downloadStatuses } from './download.machine.ts';
import { downloadFileStatuses, type OverrideRule } from './types.ts';

const DownloadTaskSchema = defineEntity({
  name: 'DownloadTask',
  tableName: 'download_tasks',
  indexes: [{ properties: ['status', 'priority', 'id'] }, { properties: ['modelId'] }],
  properties: {
    id: p.uuid().primary(),
    /** Canonical, without revision. */
    modelId: p.string(),
    /** As asked for; null = the source's default. */
    requestedRevision: p.string().nullable(),
    /** Pinned commit or digest, null until planned. */
    revision: p.string().nullable(),
    variant: p.string().nullable(),
    include: p.json<readonly string[] | null>().nullable(),
    exclude: p.json<readonly string[] | null>().nullable(),
    target: p.enum(['local', 'ollama'] as const),
    status: p.enum(downloadStatuses),
    priority: p.integer(),
    maxBytesPerSecond: p.bigint('number').nullable(),
    override: p.json<readonly OverrideRule[]>(),
    /** Equal for equal requests: model, revision, selection and target. Unique among unfinished tasks. */
    requestKey: p.string(),
    totalBytes: p.bigint('number').nullable(),
    downloadedBytes: p.bigint('number'),
    attempt: p.integer(),
    error: p.json<StoredError | null>().nullable(),
    /** Set while `retrying`: when the next attempt is due. */
    retryAt: p.datetime().nullable(),
    installedModelId: p.uuid().nullable(),
    createdBy: p.string(),
    createdAt: p.datetime(),
    startedAt: p.datetime().nullable(),
    finishedAt: p.datetime().nullable(),
  },
});

/** One fetch of a model. */
export class DownloadTask extends DownloadTaskSchema.class {}
DownloadTaskSchema.setClass(DownloadTask);

const DownloadFileSchema = defineEntity({
  name: 'DownloadFile',
  tableName: 'download_files',
  uniques: [{ properties: ['taskId', 'path'] }],
  properties: {
    id: p.uuid().primary(),
    taskId: p.uuid(),
    position: p.integer(),
    path: p.text(),
    sizeBytes: p.bigint('number'),
    downloadedBytes: p.bigint('number'),
    status: p.enum(downloadFileStatuses),
    /** Bare hex, from the source or computed. */
    sha256: p.string().nullable(),
    gitSha1: p.string().nullable(),
  },
});

export class DownloadFile extends DownloadFileSchema.class {}
DownloadFileSchema.setClass(DownloadFile);
