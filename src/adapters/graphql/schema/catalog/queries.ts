import type { SearchResult } from '../../../../domains/catalog/types.ts';
import { builder } from '../../builder.ts';
import { connectionOf, pageArgs, pageCost, toConnection, toPageRequest, type ConnectionShape } from '../../connection.ts';
import { toModelIdText } from '../../ids.ts';
import { textMax, trimmedText } from '../validation.ts';
import { ModelFormat, ModelSort, SortOrder } from './enums.ts';
import { Model } from './model.ts';
import { ModelCategory, ModelSource, SourceState } from './model-parts.ts';

const role = 'VIEWER';

type SearchConnection = ConnectionShape<SearchResult['items'][number]> & { sources?: SearchResult['sources'] };

const ModelConnection = connectionOf<SearchResult['items'][number]>('Model', Model, 'models');

builder.objectField(ModelConnection, 'sources', (t) =>
  t.field({
    type: [SourceState],
    complexity: { field: 1, multiplier: 1 },
    description: 'What each source that was asked did.',
    resolve: (connection: SearchConnection) => [...(connection.sources ?? [])],
  }),
);

builder.queryField('models', (t) =>
  t.field({
    type: ModelConnection,
    authScopes: { role },
    complexity: pageCost,
    description: 'Searches all sources at once. A source that fails or is slow is named in `sources`; the others answer all the same.',
    args: {
      ...pageArgs,
      query: t.arg.string({ description: 'Words to look for; without them the sort alone decides.', validate: trimmedText(textMax.query) }),
      source: t.arg.string({ description: 'Only this source.', validate: trimmedText(textMax.name) }),
      category: t.arg.string({ description: 'Only this category; see `modelCategories`.', validate: trimmedText(textMax.name) }),
      format: t.arg({ type: ModelFormat, description: 'Only models that come in this format.' }),
      sort: t.arg({ type: ModelSort, description: 'What to order by; default: relevance with words, else downloads.' }),
      order: t.arg({ type: SortOrder, description: 'Which end comes first; default: ascending for names, else descending.' }),
    },
    resolve: async (_root, args, { services, signal }) => {
      const query = args.query ?? '';
      const sort = args.sort ?? (query === '' ? 'downloads' : 'relevance');
      const page = toPageRequest(args);
      const result = await services.catalog.search(
        {
          query,
          sort,
          order: args.order ?? (sort === 'name' ? 'asc' : 'desc'),
          limit: page.limit,
          ...(args.source ? { source: args.source } : {}),
          ...(args.category ? { category: args.category } : {}),
          ...(args.format ? { format: args.format } : {}),
          ...(page.cursor === undefined ? {} : { cursor: page.cursor }),
        },
        signal,
      );
      return { ...toConnection({ ...result, items: [...result.items] }, args), sources: result.sources };
    },
  }),
);

builder.queryField('model', (t) =>
  t.field({
    type: Model,
    nullable: true,
    authScopes: { role },
    complexity: { field: 20, multiplier: 1 },
    description: 'One model in full.',
    args: { id: t.arg.id({ required: true, description: 'Model id or global id.' }) },
    resolve: (_root, { id }, { services, signal }) => services.catalog.get(toModelIdText(id), signal),
  }),
);

builder.queryField('modelCategories', (t) =>
  t.field({
    type: [ModelCategory],
    authScopes: { role },
    description: 'What a search can be narrowed to.',
    resolve: async (_root, _args, { services, signal }) => [...(await services.catalog.categories(signal))],
  }),
);

builder.queryField('modelSources', (t) =>
  t.field({
    type: [ModelSource],
    authScopes: { role },
    description: 'The places where models are found, and whether they answer.',
    resolve: (_root, _args, { services }) => [...services.catalog.sources()],
  }),
);
