import * as z from 'zod';
import {
  DownloadTaskStatusDocument,
  ListDownloadsDocument,
  PauseDownloadDocument,
  RemoveDownloadTaskDocument,
  ResumeDownloadDocument,
  StartDownloadDocument,
} from '../../../../schema/generated/graphql.ts';
import { downloadStatuses } from '../../../domains/downloads/download.machine.ts';
import { pageQuery, queryBoolean } from '../input.ts';
import { toCamelCase } from '../../../shared/json-case.ts';
import { toEnum, toList, toRestJson } from '../../../shared/json-view.ts';
import { startDownloadBody } from '../request-schemas.ts';
import { listOf, task, taskAnswer } from '../response-schemas.ts';
import { defineRoute, found, idempotencyHeader, idempotencyKeyOf, payloadOf, type RestRoute } from '../route.ts';

const start = defineRoute({
  method: 'POST',
  path: '/downloads/start',
  operationId: 'startDownload',
  tag: 'Downloads',
  summary: 'Fetches a model. 201 with a new task; 200 with the unfinished one that fetches the same already.',
  body: startDownloadBody,
  statuses: [201, 200],
  response: taskAnswer,
  headers: [idempotencyHeader],
  errors: [
    'MODEL_NOT_FOUND',
    'FILE_NOT_FOUND',
    'MODEL_GATED',
    'UNSAFE_FILE',
    'UNSUPPORTED_MODEL',
    'MODEL_DOES_NOT_FIT',
    'INSUFFICIENT_STORAGE',
    'IDEMPOTENCY_CONFLICT',
    'INVALID_STATE',
    'SOURCE_UNAVAILABLE',
    'RUNTIME_UNAVAILABLE',
  ],
  async handle({ body, exchange, execute }) {
    const { target, override, ...rest } = toCamelCase(body);
    const input = { ...rest, target: target && toEnum(target), override: override?.map(toEnum), idempotencyKey: idempotencyKeyOf(exchange) };
    const payload = payloadOf((await execute(StartDownloadDocument, { input })).startDownload, 'StartDownloadPayload');
    return { status: payload.created ? 201 : 200, body: { task: toRestJson(payload.task) } };
  },
});

const pause = defineRoute({
  method: 'PUT',
  path: '/downloads/{task_id}/pause',
  operationId: 'pauseDownload',
  tag: 'Downloads',
  summary: 'Holds a download; what is here of it stays.',
  statuses: [200],
  response: taskAnswer,
  errors: ['DOWNLOAD_NOT_FOUND', 'INVALID_STATE'],
  async handle({ params: { task_id: taskId = '' }, execute }) {
    const { pauseDownload } = await execute(PauseDownloadDocument, { input: { taskId } });
    return { status: 200, body: { task: toRestJson(payloadOf(pauseDownload, 'PauseDownloadPayload').task) } };
  },
});

const resume = defineRoute({
  method: 'PUT',
  path: '/downloads/{task_id}/resume',
  operationId: 'resumeDownload',
  tag: 'Downloads',
  summary: 'Lets a paused download go on where it was.',
  statuses: [200],
  response: taskAnswer,
  errors: ['DOWNLOAD_NOT_FOUND', 'INVALID_STATE', 'INSUFFICIENT_STORAGE'],
  async handle({ params: { task_id: taskId = '' }, execute }) {
    const { resumeDownload } = await execute(ResumeDownloadDocument, { input: { taskId } });
    return { status: 200, body: { task: toRestJson(payloadOf(resumeDownload, 'ResumeDownloadPayload').task) } };
  },
});

const remove = defineRoute({
  method: 'DELETE',
  path: '/downloads/{task_id}',
  operationId: 'deleteDownload',
  tag: 'Downloads',
  summary: 'Cancels an unfinished download and removes its partial files; of an ended one removes the record.',
  query: z.strictObject({ delete_files: queryBoolean.optional().describe('Of an ended one remove the model files too.') }),
  statuses: [200],
  response: taskAnswer,
  errors: ['DOWNLOAD_NOT_FOUND', 'INVALID_STATE', 'MODEL_IN_USE'],
  async handle({ params: { task_id: taskId = '' }, query, execute }) {
    const input = { taskId, cancelUnfinished: true, deleteFiles: query.delete_files ?? false };
    const { removeDownloadTask } = await execute(RemoveDownloadTaskDocument, { input });
    return { status: 200, body: { task: toRestJson(payloadOf(removeDownloadTask, 'RemoveDownloadTaskPayload').task) } };
  },
});

const status = defineRoute({
  method: 'GET',
  path: '/downloads/{task_id}/status',
  operationId: 'getDownload',
  tag: 'Downloads',
  summary: 'One download.',
  statuses: [200],
  response: taskAnswer,
  errors: ['DOWNLOAD_NOT_FOUND'],
  async handle({ params: { task_id: taskId = '' }, execute }) {
    const data = await execute(DownloadTaskStatusDocument, { taskId });
    return { status: 200, body: { task: toRestJson(found(data.task, 'DOWNLOAD_NOT_FOUND', 'There is no such download.')) } };
  },
});

const list = defineRoute({
  method: 'GET',
  path: '/downloads/list',
  operationId: 'listDownloads',
  tag: 'Downloads',
  summary: 'The queue and what went through it, newest first.',
  query: z.strictObject({ status: z.enum(downloadStatuses).optional(), model_id: z.string().min(1).max(300).optional(), ...pageQuery }),
  statuses: [200],
  response: listOf(task),
  errors: [],
  async handle({ query, execute }) {
    const { downloadTasks } = await execute(ListDownloadsDocument, {
      status: query.status && toEnum(query.status),
      modelId: query.model_id,
      ...(query.limit !== undefined && { first: query.limit }),
      after: query.cursor,
    });
    return { status: 200, body: toList(downloadTasks) };
  },
});

export const downloadRoutes: readonly RestRoute[] = [start, list, status, pause, resume, remove];
