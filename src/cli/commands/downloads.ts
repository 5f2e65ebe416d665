import {
  CancelDownloadDocument,
  CancelStorageJobDocument,
  DownloadProgressDocument,
  ListDownloadsDocument,
  PauseDownloadDocument,
  ResumeDownloadDocument,
  StartDownloadDocument,
  type DownloadStatus,
  type DownloadTarget,
  type OverridableRule,
  type StartDownloadInput,
} from '../../../schema/generated/graphql.ts';
import { AppError, isAppError } from '../../shared/errors.ts';
import { toList, toRestJson } from '../../shared/json-view.ts';
import type { CommandContext, Handler } from '../context.ts';
import { enumFlag, listFlag, numberFlag, textFlag, type Flags } from '../flags.ts';
import { bytes, columns, duration, text, word } from '../format.ts';
import { collect } from '../lookup.ts';
import { ProgressView, type Task } from '../progress.ts';
import { accept, type ServiceClient } from '../service-client.ts';

const statuses = ['QUEUED', 'RUNNING', 'PAUSED', 'RETRYING', 'VERIFYING', 'SCANNING', 'COMPLETED', 'FAILED', 'CANCELLED'] as const satisfies readonly DownloadStatus[];
const targets = ['LOCAL', 'OLLAMA'] as const satisfies readonly DownloadTarget[];
const finalStatuses: readonly DownloadStatus[] = ['COMPLETED', 'FAILED', 'CANCELLED'];

function inputOf(modelId: string, flags: Flags): StartDownloadInput {
  return {
    modelId,
    variant: textFlag(flags, 'variant') ?? null,
    include: listFlag(flags, 'include') ?? null,
    exclude: listFlag(flags, 'exclude') ?? null,
    revision: textFlag(flags, 'revision') ?? null,
    target: enumFlag(flags, 'target', targets) ?? null,
    priority: numberFlag(flags, 'priority') ?? null,
    maxBytesPerSecond: numberFlag(flags, 'maxBytesPerSecond') ?? null,
    // The service checks the names; commander has made a list of them.
    override: (listFlag(flags, 'override')?.map((rule) => rule.toUpperCase()) as OverridableRule[] | undefined) ?? null,
  };
}

/** Starts the download, or goes on with the one of the same files that somebody has held. */
export async function startDownload(client: ServiceClient, input: StartDownloadInput, signal: AbortSignal): Promise<Task> {
  const { task } = accept((await client.execute(StartDownloadDocument, { input }, signal)).startDownload);
  return task.status === 'PAUSED' ? await changeTask(client, 'resume', task.taskId, signal) : task;
}

type WatchOptions = { client: ServiceClient; task: Task; onTask?: (type: string, task: Task) => void };

/** Shows the download until it has ended; what it ended with is thrown where it is not done. */
export async function watchDownload({ output, signal }: CommandContext, { client, task, onTask }: WatchOptions): Promise<Task> {
  const view = new ProgressView(output);
  let last = task;
  let isFirst = true;
  try {
    for await (const { downloadProgress } of client.follow(DownloadProgressDocument, () => ({ taskId: task.taskId }), signal)) {
      last = downloadProgress.tasks.at(-1) ?? last;
      // A task that was over at once has had no progress to show.
      if (!isFirst || last.status !== 'COMPLETED') view.update(last);
      isFirst = false;
      onTask?.(downloadProgress.type.toLowerCase(), last);
      if (finalStatuses.includes(last.status)) break;
    }
  } finally {
    view.end();
  }
  if (last.status === 'COMPLETED') return last;
  if (last.status === 'FAILED' && last.error) throw new AppError(last.error.code, last.error.message);
  throw new AppError('INVALID_STATE', `The download is ${word(last.status)}.`);
}

export const pull: Handler = async (context, [modelId = '']) => {
  const { output, signal, flags, connect } = context;
  const client = await connect();
  const task = await startDownload(client, inputOf(modelId, flags), signal);
  output.note(`${task.modelId} ${task.variant ?? ''} ${bytes(task.totalBytes)}, task ${task.taskId}`);
  if (flags['wait'] !== false) {
    const sayThatItGoesOn = (): void => output.note(`The download goes on in the service; "llm-manager cancel ${task.taskId}" ends it.`);
    signal.addEventListener('abort', sayThatItGoesOn, { once: true });
    await watchDownload(context, { client, task, onTask: (type, now) => output.data({ type, task: toRestJson(now) }) });
    signal.removeEventListener('abort', sayThatItGoesOn);
    output.note('done');
    return undefined;
  }
  output.data({ task: toRestJson(task) });
  output.line(task.taskId);
  return undefined;
};

export const downloads: Handler = async ({ output, signal, flags, connect }) => {
  const client = await connect();
  const status = enumFlag(flags, 'status', statuses) ?? null;
  const list = await collect(async (first, after) => (await client.execute(ListDownloadsDocument, { status, first, after }, signal)).downloadTasks, numberFlag(flags, 'limit') ?? 20);
  output.data(toList(list));
  columns(output, ['TASK', 'MODEL', 'VARIANT', 'STATE', 'DONE', 'SIZE', 'SPEED', 'LEFT'], list.items.map((task) => [
    task.taskId, task.modelId, text(task.variant), word(task.status), `${Math.floor(task.progress * 100)} %`, bytes(task.totalBytes),
    task.status === 'RUNNING' ? `${bytes(task.speedBytesPerSecond)}/s` : '-',
    task.etaSeconds === null ? '-' : duration(task.etaSeconds),
  ]));
  return undefined;
};

async function changeTask(client: ServiceClient, change: 'pause' | 'resume' | 'cancel', taskId: string, signal: AbortSignal): Promise<Task> {
  const variables = { input: { taskId } };
  if (change === 'pause') return accept((await client.execute(PauseDownloadDocument, variables, signal)).pauseDownload).task;
  if (change === 'resume') return accept((await client.execute(ResumeDownloadDocument, variables, signal)).resumeDownload).task;
  return accept((await client.execute(CancelDownloadDocument, variables, signal)).cancelDownload).task;
}

function changing(change: 'pause' | 'resume' | 'cancel'): Handler {
  return async ({ output, signal, connect }, [taskId = '']) => {
    const task = await changeTask(await connect(), change, taskId, signal);
    output.data({ task: toRestJson(task) });
    output.line(`${task.taskId}  ${task.modelId}  ${word(task.status)}`);
    return undefined;
  };
}

export const pause = changing('pause');
export const resume = changing('resume');
const cancelTask = changing('cancel');

/** Of a download, or of work on stored models: both are named by the command that began them. */
export const cancel: Handler = async (context, args) => {
  const { output, signal, connect } = context;
  try {
    return await cancelTask(context, args);
  } catch (error) {
    if (!isAppError(error, 'DOWNLOAD_NOT_FOUND')) throw error;
    const { cancelStorageJob } = await (await connect()).execute(CancelStorageJobDocument, { input: { id: args[0] ?? '' } }, signal);
    // Of neither: what most people mean is a download.
    if ('code' in cancelStorageJob && cancelStorageJob.code === 'NOT_FOUND') throw error;
    const { job } = accept(cancelStorageJob);
    output.data({ job: toRestJson(job) });
    output.line(`${job.storageJobId}  ${word(job.kind)}  ${word(job.status)}`);
    return undefined;
  }
};
