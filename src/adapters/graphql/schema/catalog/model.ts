import { createContextCache } from '@pothos/core';
import DataLoader from 'dataloader';
import type { ModelDetail, ModelSummary } from '../../../../domains/catalog/types.ts';
import { builder } from '../../builder.ts';
import type { GraphqlContext } from '../../context.ts';
import { Deployment } from '../deployments/deployment.ts';
import { DownloadTask } from '../downloads/download-task.ts';
import { InstalledModel } from '../downloads/installed-model.ts';
import { ModelFormat, SecurityStatus } from './enums.ts';
import { ModelFile, ModelVariant } from './model-parts.ts';

/** A search knows the summary; the rest is looked up only when it is asked for. */
type ModelShape = ModelSummary | ModelDetail;

/** The newest of a model's downloads or deployments that it shows; the lists themselves page through all. */
const relatedMax = 20;
/** A look-up at the source, for each model. */
const lookUpCost = 20;

async function detailsOf(ids: readonly string[], { services, signal }: GraphqlContext): Promise<(ModelDetail | Error)[]> {
  // Each is a cached look-up of its own: sources have no call for many models at once.
  const settled = await Promise.allSettled(ids.map((id) => services.catalog.get(id, signal)));
  return settled.map((result) => (result.status === 'fulfilled' ? result.value : (result.reason as Error)));
}

const detailLoader = createContextCache((context: GraphqlContext) => new DataLoader<string, ModelDetail>((ids) => detailsOf(ids, context)));

/** A model that was looked up in full is not looked up again. */
async function inFull(model: ModelShape, context: GraphqlContext): Promise<ModelDetail> {
  return 'variants' in model ? model : await detailLoader(context).load(model.id);
}

export const Model = builder.objectRef<ModelShape>('Model');

builder.node(Model, {
  description: 'A model that a source offers. What a source does not tell is null.',
  id: { resolve: (model) => model.id },
  loadOne: (id, { services, signal }) => services.catalog.get(id, signal),
  fields: (t) => ({
    modelId: t.expose('id', { type: 'ModelId', description: 'Its id for every other call.' }),
    source: t.exposeString('source', { description: 'Id of the source that offers it.' }),
    name: t.exposeString('name', { description: 'Name at its source, with the owner.' }),
    author: t.exposeString('author', { nullable: true, description: 'Who published it.' }),
    displayName: t.exposeString('displayName', { description: 'Name for people.' }),
    description: t.exposeString('description', { nullable: true, description: 'What it is, in a few words of plain text.' }),
    category: t.exposeString('category', { nullable: true, description: 'Id of its category.' }),
    tags: t.stringList({ description: 'Tags at its source.', resolve: (model) => [...model.tags] }),
    license: t.exposeString('license', { nullable: true, description: 'Licence, as its source names it.' }),
    parameters: t.exposeFloat('parameters', { nullable: true, description: 'Number of weights, a whole number.' }),
    sizeBytes: t.expose('sizeBytes', { type: 'ByteSize', nullable: true, description: 'Size in bytes, all files that belong together.' }),
    formats: t.field({ type: [ModelFormat], description: 'How its weights are stored.', resolve: (model) => [...model.formats] }),
    quantizations: t.stringList({ description: 'Quantisations that it comes in.', resolve: (model) => [...model.quantizations] }),
    contextLength: t.exposeFloat('contextLength', { nullable: true, description: 'Longest context that it was made for, in tokens.' }),
    downloadCount: t.exposeFloat('downloads', { nullable: true, description: 'How often others downloaded it, a whole number.' }),
    likes: t.exposeFloat('likes', { nullable: true, description: 'How many people like it, a whole number.' }),
    gated: t.exposeBoolean('gated', { nullable: true, description: 'It must be asked for at its source.' }),
    createdAt: t.expose('createdAt', { type: 'DateTime', nullable: true, description: 'When it was published.' }),
    updatedAt: t.expose('updatedAt', { type: 'DateTime', nullable: true, description: 'When it was last changed.' }),
    url: t.exposeString('url', { nullable: true, description: 'Its page for people.' }),
  }),
});

builder.objectFields(Model, (t) => ({
  revision: t.field({
    type: 'String',
    nullable: true,
    complexity: { field: lookUpCost, multiplier: 1 },
    description: 'Commit or manifest digest that files and variants belong to; looked up.',
    resolve: async (model, _args, context) => (await inFull(model, context)).revision,
  }),
  architecture: t.field({
    type: 'String',
    nullable: true,
    complexity: { field: lookUpCost, multiplier: 1 },
    description: 'Family of the network, e.g. `llama`; looked up.',
    resolve: async (model, _args, context) => (await inFull(model, context)).architecture,
  }),
  readmeMarkdown: t.field({
    type: 'String',
    nullable: true,
    complexity: { field: lookUpCost, multiplier: 1 },
    description: 'The model card as Markdown; looked up.',
    resolve: async (model, _args, context) => (await inFull(model, context)).readmeMarkdown,
  }),
}));

builder.objectFields(Model, (t) => ({
  readmeText: t.field({
    type: 'String',
    nullable: true,
    complexity: { field: lookUpCost, multiplier: 1 },
    description: 'The model card as plain text; looked up.',
    resolve: async (model, _args, context) => (await inFull(model, context)).readmeText,
  }),
  securityStatus: t.field({
    type: SecurityStatus,
    nullable: true,
    complexity: { field: lookUpCost, multiplier: 1 },
    description: 'The source\'s worst verdict on its files; looked up.',
    resolve: async (model, _args, context) => (await inFull(model, context)).securityStatus,
  }),
  files: t.field({
    type: [ModelFile],
    nullable: true,
    complexity: { field: lookUpCost, multiplier: 10 },
    description: 'Its files; looked up.',
    resolve: async (model, _args, context) => [...(await inFull(model, context)).files],
  }),
  variants: t.field({
    type: [ModelVariant],
    nullable: true,
    complexity: { field: lookUpCost, multiplier: 10 },
    description: 'The ways to take it, each with its memory estimate and fit on this machine; looked up.',
    resolve: async (model, _args, context) => [...(await inFull(model, context)).variants],
  }),
}));

builder.objectFields(Model, (t) => ({
  isInstalled: t.loadable({
    type: 'Boolean',
    description: 'Some variant of it lies on this disk.',
    load: async (ids: string[], { services }) => {
      const installed = new Set((await services.installed.findByModels(ids)).map((model) => model.modelId));
      return ids.map((id) => installed.has(id));
    },
    resolve: (model) => model.id,
  }),
  installed: t.loadableGroup({
    type: InstalledModel,
    description: 'Its variants on this disk.',
    load: async (ids: string[], { services }) => [...(await services.installed.findByModels(ids))],
    group: (installed) => installed.modelId,
    resolve: (model) => model.id,
  }),
  downloads: t.loadableGroup({
    type: DownloadTask,
    description: `Its newest download tasks, at most ${relatedMax}.`,
    load: async (ids: string[], { services }) => [...(await services.downloads.listByModels(ids, relatedMax))],
    group: (task) => task.modelId,
    resolve: (model) => model.id,
  }),
  deployments: t.loadableGroup({
    type: Deployment,
    description: `Its newest deployments, at most ${relatedMax}.`,
    load: async (ids: string[], { services }) => [...(await services.deployments.listByModels(ids, relatedMax))],
    group: (deployment) => deployment.modelId ?? '',
    resolve: (model) => model.id,
  }),
}));
