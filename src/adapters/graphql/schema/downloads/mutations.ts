import { z } from 'zod';
import type { DownloadChange, Downloads, DownloadTaskView, StartDownload } from '../../../../domains/downloads/types.ts';
import { isAppError } from '../../../../shared/errors.ts';
import { builder } from '../../builder.ts';
import { principalOf } from '../../context.ts';
import { toUuid } from '../../ids.ts';
import { Model } from '../catalog/model.ts';
import { payloadOf, resultOf } from '../mutation.ts';
import {
  ConflictError,
  InsufficientStorageError,
  InvalidStateError,
  ModelDoesNotFitError,
  ModelRefusedError,
  NotFoundError,
  outcomeOf,
  UnavailableError,
} from '../user-error.ts';
import { listMax, nameText, textList, textMax, wholeNumber } from '../validation.ts';
import { DownloadTask } from './download-task.ts';
import { DownloadTarget, OverridableRule } from './enums.ts';
import { InstalledModel } from './installed-model.ts';

const role = 'OPERATOR';
const priorityLimits = { min: -100, max: 100 } as const;
/** Below this a download would hold its connection for days. */
const maxBytesPerSecondMin = 1024;

const StartDownloadInput = builder.inputType('StartDownloadInput', {
  description: 'What to fetch, and how.',
  fields: (t) => ({
    modelId: t.field({ type: 'ModelId', required: true, description: 'The model.' }),
    variant: t.string({ description: 'The variant; without it, `include` and `exclude` the one recommended for this machine.', validate: nameText(textMax.name) }),
    include: t.stringList({ description: 'Only files whose path matches one of these patterns (`*.gguf`).', validate: textList(textMax.pattern) }),
    exclude: t.stringList({ description: 'No files whose path matches one of these patterns.', validate: textList(textMax.pattern) }),
    revision: t.string({ description: 'Branch, tag or commit; default: the newest.', validate: nameText(textMax.name) }),
    target: t.field({ type: DownloadTarget, defaultValue: 'local', description: 'Where to put it.' }),
    priority: t.int({ defaultValue: 0, description: 'Higher goes first; -100 to 100.', validate: wholeNumber(priorityLimits.min, priorityLimits.max) }),
    maxBytesPerSecond: t.field({
      type: 'ByteSize',
      description: `Limit of its own, in bytes per second, at least ${maxBytesPerSecondMin}.`,
      validate: wholeNumber(maxBytesPerSecondMin, Number.MAX_SAFE_INTEGER),
    }),
    override: t.field({ type: [OverridableRule], description: 'Rules to set aside; ADMIN only.', validate: z.array(z.unknown()).max(listMax).nullish() }),
    idempotencyKey: t.string({ description: 'The same key again answers with the first result.', validate: nameText(textMax.idempotencyKey) }),
  }),
});

function toStartDownload(input: typeof StartDownloadInput.$inferInput): StartDownload {
  return {
    modelId: input.modelId,
    target: input.target ?? 'local',
    priority: input.priority ?? 0,
    override: input.override ?? [],
    ...(input.variant ? { variant: input.variant } : {}),
    ...(input.include ? { include: input.include } : {}),
    ...(input.exclude ? { exclude: input.exclude } : {}),
    ...(input.revision ? { revision: input.revision } : {}),
    ...(input.maxBytesPerSecond ? { maxBytesPerSecond: input.maxBytesPerSecond } : {}),
    ...(input.idempotencyKey ? { idempotencyKey: input.idempotencyKey } : {}),
  };
}

function toChange({ priority, maxBytesPerSecond }: typeof PrioritizeDownloadInput.$inferInput): DownloadChange {
  return { ...(typeof priority === 'number' ? { priority } : {}), ...(maxBytesPerSecond === undefined ? {} : { maxBytesPerSecond }) };
}

const StartDownloadPayload = builder.objectRef<Awaited<ReturnType<Downloads['start']>>>('StartDownloadPayload').implement({
  description: 'What `startDownload` answers when it is done.',
  fields: (t) => ({
    task: t.expose('task', { type: DownloadTask, description: 'The download.' }),
    created: t.exposeBoolean('created', { description: 'False when the same was being fetched already.' }),
  }),
});

const taskIdField = { required: true, description: 'The download: plain UUID or global id.' } as const;
const PauseDownloadInput = builder.inputType('PauseDownloadInput', { description: 'Which download to pause.', fields: (t) => ({ taskId: t.id(taskIdField) }) });
const ResumeDownloadInput = builder.inputType('ResumeDownloadInput', { description: 'Which download goes on.', fields: (t) => ({ taskId: t.id(taskIdField) }) });
const CancelDownloadInput = builder.inputType('CancelDownloadInput', { description: 'Which download to end.', fields: (t) => ({ taskId: t.id(taskIdField) }) });
const RetryDownloadInput = builder.inputType('RetryDownloadInput', { description: 'Which download to try again.', fields: (t) => ({ taskId: t.id(taskIdField) }) });
const PrioritizeDownloadInput = builder.inputType('PrioritizeDownloadInput', {
  description: 'Which unfinished download, and what changes; what is left out stays as it is.',
  fields: (t) => ({
    taskId: t.id(taskIdField),
    priority: t.int({ description: 'Higher goes first; -100 to 100.', validate: wholeNumber(priorityLimits.min, priorityLimits.max) }),
    maxBytesPerSecond: t.field({
      type: 'ByteSize',
      description: `Limit of its own, in bytes per second, at least ${maxBytesPerSecondMin}; null lifts it. Felt at once, also while it runs.`,
      validate: wholeNumber(maxBytesPerSecondMin, Number.MAX_SAFE_INTEGER),
    }),
  }),
});
const RemoveDownloadTaskInput = builder.inputType('RemoveDownloadTaskInput', {
  description: 'Which ended download to forget.',
  fields: (t) => ({
    taskId: t.id(taskIdField),
    cancelUnfinished: t.boolean({ required: true, defaultValue: false, description: 'Cancel it when it has not ended yet, instead of refusing; its record stays then.' }),
    deleteFiles: t.boolean({ required: true, defaultValue: false, description: 'Remove the model that it installed as well.' }),
  }),
});
const DeleteInstalledModelInput = builder.inputType('DeleteInstalledModelInput', {
  description: 'Which installed model to remove.',
  fields: (t) => ({ installedModelId: t.id({ required: true, description: 'The installed model: plain UUID or global id.' }) }),
});
const RefreshModelInput = builder.inputType('RefreshModelInput', {
  description: 'Which model to look up again.',
  fields: (t) => ({ modelId: t.field({ type: 'ModelId', required: true, description: 'The model.' }) }),
});

const stateErrors = [NotFoundError, InvalidStateError];

/** The outcome is asked for, never the state: what is unfinished refuses to be removed and is cancelled then. */
async function removeTask(downloads: Downloads, input: typeof RemoveDownloadTaskInput.$inferInput, signal: AbortSignal): Promise<DownloadTaskView> {
  const id = toUuid('DownloadTask', input.taskId);
  try {
    return await downloads.remove(id, { deleteFiles: input.deleteFiles }, signal);
  } catch (error) {
    if (!input.cancelUnfinished || !isAppError(error, 'INVALID_STATE')) throw error;
    return await downloads.cancel(id, signal);
  }
}

builder.mutationField('startDownload', (t) =>
  t.field({
    type: StartDownloadPayload,
    authScopes: { role },
    description: 'Fetches a model. The same again while it is unfinished answers with the same download.',
    args: { input: t.arg({ type: StartDownloadInput, required: true, description: 'What to fetch.' }) },
    errors: resultOf('StartDownload', [NotFoundError, ModelRefusedError, InsufficientStorageError, ModelDoesNotFitError, ConflictError, InvalidStateError, UnavailableError]),
    resolve: (_root, { input }, context) => outcomeOf(() => context.services.downloads.start(toStartDownload(input), principalOf(context), context.signal)),
  }),
);

builder.mutationField('pauseDownload', (t) =>
  t.field({
    type: payloadOf('PauseDownload', 'task', DownloadTask),
    authScopes: { role },
    description: 'Holds a download; what is here of it stays.',
    args: { input: t.arg({ type: PauseDownloadInput, required: true, description: 'Which one.' }) },
    errors: resultOf('PauseDownload', stateErrors),
    resolve: (_root, { input }, { services, signal }) => outcomeOf(async () => ({ task: await services.downloads.pause(toUuid('DownloadTask', input.taskId), signal) })),
  }),
);

builder.mutationField('resumeDownload', (t) =>
  t.field({
    type: payloadOf('ResumeDownload', 'task', DownloadTask),
    authScopes: { role },
    description: 'Lets a paused download go on where it was.',
    args: { input: t.arg({ type: ResumeDownloadInput, required: true, description: 'Which one.' }) },
    errors: resultOf('ResumeDownload', [...stateErrors, InsufficientStorageError]),
    resolve: (_root, { input }, { services, signal }) => outcomeOf(async () => ({ task: await services.downloads.resume(toUuid('DownloadTask', input.taskId), signal) })),
  }),
);

builder.mutationField('cancelDownload', (t) =>
  t.field({
    type: payloadOf('CancelDownload', 'task', DownloadTask),
    authScopes: { role },
    description: 'Ends a download and removes what is here of it.',
    args: { input: t.arg({ type: CancelDownloadInput, required: true, description: 'Which one.' }) },
    errors: resultOf('CancelDownload', stateErrors),
    resolve: (_root, { input }, { services, signal }) => outcomeOf(async () => ({ task: await services.downloads.cancel(toUuid('DownloadTask', input.taskId), signal) })),
  }),
);

builder.mutationField('retryDownload', (t) =>
  t.field({
    type: payloadOf('RetryDownload', 'task', DownloadTask),
    authScopes: { role },
    description: 'Tries a failed or cancelled download again, from what is left of it.',
    args: { input: t.arg({ type: RetryDownloadInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RetryDownload', [...stateErrors, InsufficientStorageError, ConflictError]),
    resolve: (_root, { input }, { services, signal }) => outcomeOf(async () => ({ task: await services.downloads.retry(toUuid('DownloadTask', input.taskId), signal) })),
  }),
);

builder.mutationField('prioritizeDownload', (t) =>
  t.field({
    type: payloadOf('PrioritizeDownload', 'task', DownloadTask),
    authScopes: { role },
    description: 'Moves a download in the queue, or changes its limit of speed.',
    args: { input: t.arg({ type: PrioritizeDownloadInput, required: true, description: 'Which one, and how far.' }) },
    errors: resultOf('PrioritizeDownload', stateErrors),
    resolve: (_root, { input }, { services, signal }) =>
      outcomeOf(async () => ({ task: await services.downloads.prioritize(toUuid('DownloadTask', input.taskId), toChange(input), signal) })),
  }),
);

builder.mutationField('removeDownloadTask', (t) =>
  t.field({
    type: payloadOf('RemoveDownloadTask', 'task', DownloadTask),
    authScopes: { role },
    description: 'Forgets an ended download, on demand with the model that it installed.',
    args: { input: t.arg({ type: RemoveDownloadTaskInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RemoveDownloadTask', [...stateErrors, ConflictError]),
    resolve: (_root, { input }, { services, signal }) =>
      outcomeOf(async () => ({ task: await removeTask(services.downloads, input, signal) })),
  }),
);

builder.mutationField('deleteInstalledModel', (t) =>
  t.field({
    type: payloadOf('DeleteInstalledModel', 'installedModel', InstalledModel),
    authScopes: { role },
    description: 'Removes a model from this disk; files that another one shares stay.',
    args: { input: t.arg({ type: DeleteInstalledModelInput, required: true, description: 'Which one.' }) },
    errors: resultOf('DeleteInstalledModel', [NotFoundError, ConflictError]),
    resolve: (_root, { input }, { services, signal }) =>
      outcomeOf(async () => ({ installedModel: await services.installed.delete(toUuid('InstalledModel', input.installedModelId), signal) })),
  }),
);

builder.mutationField('refreshModel', (t) =>
  t.field({
    type: payloadOf('RefreshModel', 'model', Model),
    authScopes: { role },
    description: 'Looks a model up at its source, past everything that was kept from earlier.',
    args: { input: t.arg({ type: RefreshModelInput, required: true, description: 'Which one.' }) },
    errors: resultOf('RefreshModel', [NotFoundError, ModelRefusedError, UnavailableError]),
    resolve: (_root, { input }, { services, signal }) => outcomeOf(async () => ({ model: await services.catalog.refresh(input.modelId, signal) })),
  }),
);
