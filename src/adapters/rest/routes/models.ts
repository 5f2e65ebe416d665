import * as z from 'zod';
import { ModelCategoriesDocument, ModelInfoDocument, SearchModelsDocument, type ModelInfoQuery } from '../../../../schema/generated/graphql.ts';
import { modelFormats, modelSorts } from '../../../domains/catalog/types.ts';
import { AppError, isAppError } from '../../../shared/errors.ts';
import { pageQuery } from '../input.ts';
import { toEnum, toList, toRestJson, type Json } from '../../../shared/json-view.ts';
import { categories, modelAnswer, searchResult } from '../response-schemas.ts';
import { defineRoute, found, type RestRoute } from '../route.ts';

const searchQuery = z.strictObject({
  q: z.string().max(200).optional().describe('Words to look for; without them the sort alone decides.'),
  source: z.string().max(64).optional().describe('`huggingface`, `ollama`, or the source of a plug-in; without it all are asked at once.'),
  category: z.string().max(100).optional().describe('An id of `/api/models/categories`.'),
  sort: z.enum(modelSorts).optional(),
  order: z.enum(['asc', 'desc']).optional(),
  format: z.enum(modelFormats).optional(),
  ...pageQuery,
});

const search = defineRoute({
  method: 'GET',
  path: '/models/search',
  operationId: 'searchModels',
  tag: 'Models',
  summary: 'Searches all sources at once; one that fails is named in `sources`, the others answer all the same.',
  query: searchQuery,
  statuses: [200],
  response: searchResult,
  errors: ['SOURCE_UNAVAILABLE'],
  async handle({ query: { q, limit, cursor, sort, order, format, ...rest }, execute }) {
    const { models } = await execute(SearchModelsDocument, {
      ...rest,
      query: q,
      ...(limit !== undefined && { first: limit }),
      after: cursor,
      sort: sort && toEnum(sort),
      order: order && toEnum(order),
      format: format && toEnum(format),
    });
    const sources = models.sources.map(({ error, ...state }) => toRestJson({ ...state, ...(error && { error }) }));
    return { status: 200, body: { ...toList(models), sources } };
  },
});

function fileView({ digest, ...file }: NonNullable<NonNullable<ModelInfoQuery['model']>['files']>[number]): Json {
  return { ...toRestJson(file), digest, sha256: digest?.replace('sha256:', '') ?? null };
}

function infoView(model: NonNullable<ModelInfoQuery['model']>): Json {
  const { readmeText, readmeMarkdown, installedVariants, files, variants, description, ...rest } = model;
  const installed = new Set(installedVariants.map(({ variant }) => variant));
  return {
    ...toRestJson(rest),
    description: description ?? readmeText,
    description_text: readmeText,
    description_markdown: readmeMarkdown,
    files: files?.map(fileView) ?? [],
    variants: variants?.map((variant) => ({ ...toRestJson(variant), installed: installed.has(variant.name) })) ?? [],
  };
}

const info = defineRoute({
  method: 'GET',
  path: '/models/{model_id+}/info',
  operationId: 'getModel',
  tag: 'Models',
  summary: 'One model in full: description, files, variants, memory estimate and fit on this machine.',
  statuses: [200],
  response: modelAnswer,
  errors: ['MODEL_NOT_FOUND', 'MODEL_GATED', 'SOURCE_UNAVAILABLE', 'RATE_LIMITED'],
  async handle({ params: { model_id: id = '' }, execute }) {
    try {
      const { model } = await execute(ModelInfoDocument, { id });
      return { status: 200, body: { model: infoView(found(model, 'MODEL_NOT_FOUND', 'There is no such model.')) } };
    } catch (error) {
      // A text that cannot be an id names no model: on this path there is no other input that could be wrong.
      if (!isAppError(error, 'VALIDATION_FAILED')) throw error;
      throw new AppError('MODEL_NOT_FOUND', 'There is no such model; an id is huggingface:org/name or ollama:name[:tag].', { cause: error });
    }
  },
});

const listCategories = defineRoute({
  method: 'GET',
  path: '/models/categories',
  operationId: 'listModelCategories',
  tag: 'Models',
  summary: 'What a search can be narrowed to.',
  statuses: [200],
  response: categories,
  errors: [],
  async handle({ execute }) {
    const { modelCategories } = await execute(ModelCategoriesDocument, {});
    return { status: 200, body: { items: modelCategories.map(toRestJson) } };
  },
});

export const modelRoutes: readonly RestRoute[] = [search, listCategories, info];
