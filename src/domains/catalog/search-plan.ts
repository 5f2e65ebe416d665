import { validationFailed } from '../../shared/errors.ts';
import { assertPageLimit } from '../../shared/paging.ts';
import type { ModelSource } from './source.ts';
import type { SearchRequest } from './types.ts';

const queryLengthMax = 200;
const filterLengthMax = 100;
const unprintable = /[\u0000-\u001f\u007f]/;

export type SearchPlan = {
  request: SearchRequest;
  /** Asked, in the order in which they take turns. */
  asked: readonly ModelSource[];
  /** Named in the answer with the reason why they are not asked. */
  unable: readonly { source: ModelSource; message: string }[];
};

/** Which sources are asked. Throws VALIDATION_FAILED when the search as a whole is not possible. */
export function planSearch(sources: ReadonlyMap<string, ModelSource>, given: SearchRequest): SearchPlan {
  const request = { ...given, query: given.query.trim() };
  assertSearch(request);
  const chosen = chooseSources(sources, request);
  const { sort, order, format } = request;
  const ofFormat = format === undefined ? chosen : chosen.filter(({ capabilities }) => capabilities.formats.includes(format));
  if (ofFormat.length === 0) throw validationFailed([{ field: 'format', message: `no asked source has models of the format ${format ?? ''}` }]);
  const canSort = ofFormat.filter(({ capabilities }) => capabilities.sorts[sort] !== undefined);
  if (canSort.length === 0) throw validationFailed([{ field: 'sort', message: `no asked source can sort by ${sort}` }]);
  const asked = canSort.filter(({ capabilities }) => capabilities.sorts[sort]?.includes(order));
  if (asked.length === 0) throw validationFailed([{ field: 'order', message: `no asked source can sort by ${sort} in the order ${order}` }]);
  const unable = ofFormat.filter((source) => !asked.includes(source)).map((source) => ({ source, message: unableMessage(source, request) }));
  return { request, asked, unable };
}

function unableMessage({ name }: ModelSource, { sort, order }: SearchRequest): string {
  return `${name} cannot sort by ${sort} in the order ${order}.`;
}

function assertSearch({ query, category, limit }: SearchRequest): void {
  assertPageLimit(limit);
  if (query.length > queryLengthMax) throw validationFailed([{ field: 'query', message: `must have at most ${queryLengthMax} characters` }]);
  if (unprintable.test(query) || !query.isWellFormed()) throw validationFailed([{ field: 'query', message: 'must not contain control characters' }]);
  if (category !== undefined && !/^[\w.-]+$/.test(category.slice(0, filterLengthMax + 1))) {
    throw validationFailed([{ field: 'category', message: 'must be the id of a category' }]);
  }
}

function chooseSources(sources: ReadonlyMap<string, ModelSource>, { source }: SearchRequest): readonly ModelSource[] {
  if (source === undefined) return [...sources.values()];
  const chosen = sources.get(source);
  if (!chosen) throw validationFailed([{ field: 'source', message: `must be one of ${[...sources.keys()].join(', ')}` }]);
  return [chosen];
}
