import { builder } from '../../builder.ts';
import { connectionOf, pageArgs, pageCost, toConnection, toPageRequest } from '../../connection.ts';
import { notFound, toUuid } from '../../ids.ts';
import { DownloadProgressEvent, DownloadTask } from './download-task.ts';
import { DownloadStatus } from './enums.ts';
import { InstalledModel, Storage } from './installed-model.ts';
import { canonicalModelId } from './model-id.ts';
import { openStream } from '../../stream.ts';

const role = 'VIEWER';

const DownloadTaskConnection = connectionOf('DownloadTask', DownloadTask, 'downloads');
const InstalledModelConnection = connectionOf('InstalledModel', InstalledModel, 'installed models');

builder.queryField('downloadTasks', (t) =>
  t.field({
    type: DownloadTaskConnection,
    authScopes: { role },
    complexity: pageCost,
    description: 'The queue and what went through it, newest first.',
    args: {
      ...pageArgs,
      status: t.arg({ type: DownloadStatus, description: 'Only in this state.' }),
      modelId: t.arg({ type: 'ModelId', description: 'Only of this model.' }),
    },
    resolve: async (_root, args, { services }, info) => {
      const filter = { ...(args.status ? { status: args.status } : {}), ...(args.modelId ? { modelId: canonicalModelId(args.modelId) } : {}) };
      return toConnection(await services.downloads.list(filter, toPageRequest(args, info)), args);
    },
  }),
);

builder.queryField('downloadTask', (t) =>
  t.field({
    type: DownloadTask,
    nullable: true,
    authScopes: { role },
    description: 'One download.',
    args: { id: t.arg.id({ required: true, description: 'Plain UUID or global id.' }) },
    resolve: (_root, { id }, { services }) => services.downloads.get(toUuid('DownloadTask', id)),
  }),
);

builder.queryField('installedModels', (t) =>
  t.field({
    type: InstalledModelConnection,
    authScopes: { role },
    complexity: pageCost,
    description: 'What lies on this disk, newest first.',
    args: pageArgs,
    resolve: async (_root, args, { services }, info) => toConnection(await services.installed.list(toPageRequest(args, info)), args),
  }),
);

builder.queryField('installedModel', (t) =>
  t.field({
    type: InstalledModel,
    nullable: true,
    authScopes: { role },
    description: 'One variant of a model on this disk.',
    args: { id: t.arg.id({ required: true, description: 'Plain UUID or global id.' }) },
    resolve: async (_root, { id }, { services }) => {
      const found = await services.installed.find(toUuid('InstalledModel', id));
      if (!found) throw notFound('InstalledModel');
      return found;
    },
  }),
);

builder.queryField('storage', (t) =>
  t.field({
    type: Storage,
    authScopes: { role },
    description: 'Folders, disks and the room on them.',
    resolve: async (_root, _args, { services }) => ({ volumes: await services.installed.volumes() }),
  }),
);

builder.subscriptionField('downloadProgress', (t) =>
  t.field({
    type: DownloadProgressEvent,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'First the present state, then at most 4 events a second for each task, the newest in place of older ones that were not sent yet.',
    args: { taskId: t.arg.id({ description: 'Only this download (plain UUID or global id); else all unfinished ones.' }) },
    subscribe: (_root, { taskId }, { services, signal }) => {
      const id = taskId ? toUuid('DownloadTask', taskId) : null;
      return openStream((inner) => services.downloads.watch(id, inner), { signal, startsAtOnce: true });
    },
    resolve: (event) => event,
  }),
);
