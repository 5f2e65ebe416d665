import { defineEntity, p } from '@mikro-orm/core';
import type { StoredError } from '../../shared/errors.ts';
import type { FileSecurityStatus } from '../catalog/types.ts';
import { downloadStatuses, unfinishedStatuses } from './download.machine.ts';
import type { ScanReport } from './file-scanner.ts';
import { downloadFileStatuses, type OverrideRule } from './types.ts';

const whileUnfinished = `status in (${unfinishedStatuses.map((status) => `'${status}'`).join(', ')})`;

const DownloadTaskSchema = defineEntity({
  name: 'DownloadTask',
  tableName: 'download_tasks',
  indexes: [{ properties: ['status', 'priority', 'id'] }, { properties: ['modelId'] }],
  // Two callers that ask for the same at the same moment get one task: the second insert fails.
  uniques: [
    { name: 'download_tasks_unfinished_request', properties: ['requestKey'], where: whileUnfinished },
    { name: 'download_tasks_unfinished_files', properties: ['filesKey'], where: whileUnfinished },
  ],
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
    /** Of what was asked: model, revision, selection and target as given. */
    requestKey: p.string(),
    /** Of what it came to: model, pinned revision, files and target. Null until planned. */
    filesKey: p.string().nullable(),
    /** Of the weights that were chosen; null until planned. */
    format: p.string().nullable(),
    /** As in `InstalledModel`. */
    variantKey: p.string().nullable(),
    quantization: p.string().nullable(),
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
    /** What the source's own scan says. */
    sourceStatus: p.string().$type<FileSecurityStatus>().nullable(),
    /** What ours say; null until it was looked at. */
    scan: p.json<ScanReport | null>().nullable(),
  },
});

export class DownloadFile extends DownloadFileSchema.class {}
DownloadFileSchema.setClass(DownloadFile);
