import type { EngineInfo, OwnModelView, RuntimeInfo } from '../../../../domains/deployments/types.ts';
import { builder } from '../../builder.ts';
import { pageArgs, pageCost, toConnection, toPageRequest } from '../../connection.ts';
import { toUuid } from '../../ids.ts';
import { withoutNulls } from '../../nulls.ts';
import { openStream } from '../../stream.ts';
import { FitEstimate } from '../catalog/model-parts.ts';
import { canonicalModelId } from '../downloads/model-id.ts';
import { nameText, textMax, trimmedText, wholeNumber } from '../validation.ts';
import { DeploymentConfigInput, toConfig } from './config-input.ts';
import { Deployment, DeploymentConnection } from './deployment.ts';
import { DeploymentStatus, LogLevel } from './enums.ts';
import { DeploymentLogEvent } from './log.ts';

const role = 'VIEWER';
/** Lines that are sent before the live ones; more is what paging is for. */
const followTailMax = 1000;

const RuntimeEngine = builder.objectRef<EngineInfo>('RuntimeEngine').implement({
  description: 'A program, build or server with which a runtime runs models on this machine, or could.',
  fields: (t) => ({
    engineId: t.exposeID('id', { description: 'E.g. `llama-server`, `embedded-cpu`, `embedded-cuda`, `ollama`, `docker`.' }),
    name: t.exposeString('name', { description: 'Name for people.' }),
    available: t.exposeBoolean('available', { description: 'It is there and works on this machine.' }),
    inUse: t.exposeBoolean('inUse', { description: 'What a deployment that is started now runs on.' }),
    version: t.exposeString('version', { nullable: true, description: 'Its version.' }),
    detail: t.exposeString('detail', { nullable: true, description: 'What it is, or what is missing.' }),
    remedy: t.exposeString('remedy', { nullable: true, description: 'How to get it; null where it is there, and where this machine cannot have it.' }),
  }),
});

const RuntimeModel = builder.objectRef<OwnModelView>('RuntimeModel').implement({
  description: "A model of a runtime's own store, e.g. one that was pulled with Ollama. It is started by its id, without a download.",
  fields: (t) => ({
    modelId: t.expose('modelId', { type: 'ModelId', description: 'For the `modelId` of a deployment with this runtime.' }),
    sizeBytes: t.expose('sizeBytes', { type: 'ByteSize', description: 'Of its weights and what belongs to them, as the runtime tells.' }),
    quantization: t.exposeString('quantization', { nullable: true, description: 'As the runtime tells.' }),
  }),
});

const DeploymentRuntime = builder.objectRef<RuntimeInfo>('DeploymentRuntime').implement({
  description: 'Something that can run models.',
  fields: (t) => ({
    runtimeId: t.exposeID('id', { description: 'For the `runtime` of a deployment.' }),
    name: t.exposeString('name', { description: 'Name for people.' }),
    available: t.exposeBoolean('available', { description: 'It can be used on this machine now.' }),
    version: t.exposeString('version', { nullable: true, description: 'Its version.' }),
    detail: t.exposeString('detail', { nullable: true, description: 'What is missing, or what it runs on.' }),
    needsModel: t.exposeBoolean('needsModel', { description: 'It runs an installed model; else a server that runs already.' }),
    formats: t.stringList({ description: 'Formats that it loads.', resolve: (runtime) => [...runtime.formats] }),
    models: t.field({
      type: [RuntimeModel],
      complexity: 20,
      description: "What the runtime's server has by itself; empty where it does not answer.",
      resolve: async ({ id }, _args, { services, signal }) => [...(await services.deployments.ownModels(id, signal))],
    }),
    engines: t.field({ type: [RuntimeEngine], description: 'What it runs models with here, or could.', resolve: (runtime) => [...runtime.engines] }),
  }),
});

const DeploymentFitInput = builder.inputType('DeploymentFitInput', {
  description: 'What would be started.',
  fields: (t) => ({
    modelId: t.field({ type: 'ModelId', required: true, description: 'The model.' }),
    variant: t.string({ description: 'The variant; default: the recommended one.', validate: nameText(textMax.name) }),
    config: t.field({ type: DeploymentConfigInput, description: 'What would be set.' }),
  }),
});

builder.queryField('deployments', (t) =>
  t.field({
    type: DeploymentConnection,
    authScopes: { role },
    complexity: pageCost,
    description: 'What runs, is meant to run or did, newest first.',
    args: {
      ...pageArgs,
      status: t.arg({ type: DeploymentStatus, description: 'Only in this state.' }),
      modelId: t.arg({ type: 'ModelId', description: 'Only of this model.' }),
    },
    resolve: async (_root, args, { services }, info) => {
      const filter = { ...(args.status ? { status: args.status } : {}), ...(args.modelId ? { modelId: canonicalModelId(args.modelId) } : {}) };
      return toConnection(await services.deployments.list(filter, toPageRequest(args, info)), args);
    },
  }),
);

builder.queryField('deployment', (t) =>
  t.field({
    type: Deployment,
    nullable: true,
    authScopes: { role },
    description: 'One deployment.',
    args: { id: t.arg.id({ required: true, description: 'Plain UUID or global id.' }) },
    resolve: (_root, { id }, { services }) => services.deployments.get(toUuid('Deployment', id)),
  }),
);

builder.queryField('deploymentRuntimes', (t) =>
  t.field({
    type: [DeploymentRuntime],
    authScopes: { role },
    description: 'What can run models here, and whether it can be used now.',
    resolve: async (_root, _args, { services, signal }) => [...(await services.deployments.runtimes(signal))],
  }),
);

builder.queryField('deploymentFit', (t) =>
  t.field({
    type: FitEstimate,
    nullable: true,
    authScopes: { role },
    complexity: { field: 20, multiplier: 1 },
    description: 'Whether a model would fit into the memory of this machine, and why.',
    args: { input: t.arg({ type: DeploymentFitInput, required: true, description: 'What would be started.' }) },
    resolve: (_root, { input }, { services, signal }) =>
      services.deployments.fit(
        { modelId: input.modelId, ...(input.variant ? { variant: input.variant } : {}), ...(input.config ? { config: toConfig(input.config).config } : {}) },
        signal,
      ),
  }),
);

builder.subscriptionField('deploymentStatus', (t) =>
  t.field({
    type: Deployment,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'The present state, then each change.',
    args: { id: t.arg.id({ description: 'Only this deployment (plain UUID or global id); else all.' }) },
    subscribe: async (_root, { id }, { services, signal }) => {
      const uuid = id ? toUuid('Deployment', id) : null;
      if (uuid) await services.deployments.get(uuid);
      return await openStream((inner) => services.deployments.watch(uuid, inner), { signal, startsAtOnce: false });
    },
    resolve: (deployment) => deployment,
  }),
);

builder.subscriptionField('deploymentLogs', (t) =>
  t.field({
    type: DeploymentLogEvent,
    authScopes: { role },
    complexity: { field: 1, multiplier: 1 },
    description: 'The lines since then, then live ones. A reader that falls behind is told how many lines were left out.',
    args: {
      id: t.arg.id({ required: true, description: 'Plain UUID or global id.' }),
      since: t.arg({ type: 'DateTime', description: 'Begin with the lines from this time on; default: only new ones.' }),
      tail: t.arg.int({ description: `Begin with so many of the last lines, 0 to ${followTailMax}.`, validate: wholeNumber(0, followTailMax) }),
      level: t.arg({ type: LogLevel, description: 'Only lines that matter at least this much.' }),
      search: t.arg.string({ description: 'Only lines with this text in them, in upper or lower case.', validate: trimmedText(textMax.query) }),
    },
    subscribe: async (_root, { id, ...options }, { services, signal }) => {
      const uuid = toUuid('Deployment', id);
      await services.deployments.get(uuid);
      return await openStream((inner) => services.deployments.followLogs(uuid, withoutNulls(options), inner), { signal, startsAtOnce: false });
    },
    resolve: (event) => event,
  }),
);
