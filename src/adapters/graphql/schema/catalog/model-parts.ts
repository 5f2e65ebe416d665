import type { FitEstimate as Fit, ModelCategory as Category, ModelFile as File, ModelVariant as Variant, SourceInfo, SourceState as State } from '../../../../domains/catalog/types.ts';
import { builder } from '../../builder.ts';
import { Failure } from '../common.ts';
import { FitVerdict, ModelFormat, ModelSort, SecurityStatus, SourceStatus } from './enums.ts';

export const ModelFile = builder.objectRef<File>('ModelFile').implement({
  description: 'One file of a model.',
  fields: (t) => ({
    path: t.exposeString('path', { description: 'Relative to the model, with `/`.' }),
    sizeBytes: t.expose('sizeBytes', { type: 'ByteSize', description: 'Size in bytes.' }),
    digest: t.expose('sha256', { type: 'Digest', nullable: true, description: 'SHA-256 where the source tells it.' }),
    format: t.expose('format', { type: ModelFormat, description: 'How it stores weights.' }),
    securityStatus: t.expose('securityStatus', { type: SecurityStatus, nullable: true, description: "The source's own scan verdict." }),
  }),
});

export const FitEstimate = builder.objectRef<Fit>('FitEstimate').implement({
  description: 'Memory that a model needs against what this machine has free.',
  fields: (t) => ({
    verdict: t.expose('verdict', { type: FitVerdict, description: 'Whether it fits.' }),
    reason: t.exposeString('reason', { description: 'Why, in one sentence.' }),
    contextSize: t.exposeInt('contextSize', { description: 'Context that the estimate is for, in tokens.' }),
    maxContextSize: t.exposeInt('maxContextSize', { nullable: true, description: 'Biggest context that fits, in tokens.' }),
    neededBytes: t.expose('neededBytes', { type: 'ByteSize', description: 'Memory that it needs in all, in bytes.' }),
    availableBytes: t.expose('availableBytes', { type: 'ByteSize', description: 'Memory that is free, in bytes.' }),
    weightsBytes: t.expose('weightsBytes', { type: 'ByteSize', description: 'For the weights, in bytes.' }),
    kvCacheBytes: t.expose('kvCacheBytes', { type: 'ByteSize', nullable: true, description: 'For the context, in bytes.' }),
    overheadBytes: t.expose('overheadBytes', { type: 'ByteSize', description: 'For the rest, in bytes.' }),
  }),
});

export const ModelVariant = builder.objectRef<Variant>('ModelVariant').implement({
  description: 'One way to take a model: a quantisation, or the whole repository.',
  fields: (t) => ({
    name: t.exposeString('name', { description: 'Name within the model, e.g. `Q4_K_M`.' }),
    format: t.expose('format', { type: ModelFormat, description: 'How its weights are stored.' }),
    quantization: t.exposeString('quantization', { nullable: true, description: 'How its weights are rounded.' }),
    files: t.stringList({ description: 'Paths of its weights, all parts.', resolve: (variant) => [...variant.files] }),
    sizeBytes: t.expose('sizeBytes', { type: 'ByteSize', description: 'Size of its weights in bytes.' }),
    fit: t.expose('fit', { type: FitEstimate, nullable: true, description: 'Whether it fits on this machine.' }),
    recommended: t.exposeBoolean('recommended', { description: 'The one that is taken on this machine when nobody chooses.' }),
  }),
});

export const SourceState = builder.objectRef<State>('SourceState').implement({
  description: 'What one source did for a search.',
  fields: (t) => ({
    source: t.exposeString('source', { description: 'Id of the source.' }),
    status: t.expose('status', { type: SourceStatus, description: 'Whether it answered.' }),
    cached: t.exposeBoolean('cached', { description: 'The answer was kept from an earlier search.' }),
    error: t.expose('error', { type: Failure, nullable: true, description: 'Why it did not answer.' }),
  }),
});

export const ModelSource = builder.objectRef<SourceInfo>('ModelSource').implement({
  description: 'A place where models are found and fetched from.',
  fields: (t) => ({
    sourceId: t.exposeID('id', { description: 'The part of a model id before the colon.' }),
    name: t.exposeString('name', { description: 'Name for people.' }),
    endpoint: t.exposeString('endpoint', { description: 'Address as configured, without credentials.' }),
    status: t.expose('status', { type: SourceStatus, description: 'Whether it answered the last time it was asked.' }),
    error: t.expose('error', { type: Failure, nullable: true, description: 'Why it did not answer.' }),
    sorts: t.field({ type: [ModelSort], description: 'What it can order a search by.', resolve: (source) => [...source.sorts] }),
  }),
});

export const ModelCategory = builder.objectRef<Category>('ModelCategory').implement({
  description: 'What models are for, as sources sort them.',
  fields: (t) => ({
    categoryId: t.exposeID('id', { description: 'For the `category` of a search.' }),
    name: t.exposeString('name', { description: 'Name for people.' }),
    sources: t.stringList({ description: 'Ids of the sources that know it.', resolve: (category) => [...category.sources] }),
  }),
});
