import type { InputShapeFromFields, ObjectRef } from '@pothos/core';
import { Kind, type GraphQLResolveInfo, type SelectionSetNode } from 'graphql';
import { AppError } from '../../shared/errors.ts';
import { pageLimits, type Page, type PageRequest } from '../../shared/paging.ts';
import { builder, type SchemaTypes } from './builder.ts';

export type ConnectionShape<Node> = {
  nodes: readonly Node[];
  edges: readonly { cursor: string | null; node: Node }[];
  totalCount: number | null;
  pageInfo: PageInfoShape;
};
type PageInfoShape = { hasNextPage: boolean; hasPreviousPage: boolean; startCursor: string | null; endCursor: string | null };

/** GraphQL's Int ends here; a total beyond it is not worth a type of its own. */
const intMax = 2_147_483_647;

const PageInfo = builder.objectRef<PageInfoShape>('PageInfo').implement({
  description: 'Where a page stands in its list.',
  fields: (t) => ({
    hasNextPage: t.exposeBoolean('hasNextPage', { description: 'More follows after `endCursor`.' }),
    hasPreviousPage: t.exposeBoolean('hasPreviousPage', { description: 'This is not the first page.' }),
    startCursor: t.exposeString('startCursor', { nullable: true, description: 'Cursor of the first item, if items have one.' }),
    endCursor: t.exposeString('endCursor', { nullable: true, description: 'Send it as `after` for the next page.' }),
  }),
});

/** Types `<name>Connection` and `<name>Edge` over a node type, with every part described. */
export function connectionOf<Node extends object>(name: string, node: ObjectRef<SchemaTypes, Node>, things: string): ObjectRef<SchemaTypes, ConnectionShape<Node>> {
  const edge = builder.objectRef<{ cursor: string | null; node: Node }>(`${name}Edge`).implement({
    description: `One of the ${things} with its place in the list.`,
    fields: (t) => ({
      cursor: t.exposeString('cursor', { nullable: true, description: 'To go on after this item; null where only whole pages can be continued.' }),
      // Pothos cannot tell that a generic node is no list.
      node: t.field({ type: node, description: 'The item.', resolve: (parent) => parent.node as never }),
    }),
  });
  return builder.objectRef<ConnectionShape<Node>>(`${name}Connection`).implement({
    description: `A page of ${things}.`,
    fields: (t) => ({
      // The connection's own multiplier has counted the items already.
      edges: t.field({ type: [edge], complexity: { field: 0, multiplier: 1 }, description: 'The items with their cursors.', resolve: (parent) => [...parent.edges] }),
      nodes: t.field({ type: [node], complexity: { field: 0, multiplier: 1 }, description: 'The items alone.', resolve: (parent) => [...parent.nodes] }),
      pageInfo: t.field({ type: PageInfo, description: 'Where this page stands.', resolve: (parent) => parent.pageInfo }),
      totalCount: t.exposeInt('totalCount', { nullable: true, description: 'How many there are in all, where that is known.' }),
    }),
  });
}

/** The arguments of every connection. */
export const pageArgs = builder.args((t) => ({
  first: t.int({ required: true, defaultValue: pageLimits.default, description: `How many items, ${pageLimits.min} to ${pageLimits.max}.` }),
  after: t.string({ description: 'Only what comes after this cursor.' }),
}));

export type PageArgs = InputShapeFromFields<typeof pageArgs>;

/** Refuses a page size out of range. Used by the cost too, so that the range is checked before the cost. */
export function assertFirst(first: number, max: number = pageLimits.max): number {
  if (first >= pageLimits.min && first <= max) return first;
  const message = `must be a whole number from ${pageLimits.min} to ${max}`;
  throw new AppError('VALIDATION_FAILED', `first: ${message}`, { details: { fields: [{ field: 'first', message }] } });
}

/** Cost of a field whose argument says how many items it answers. */
export function pageCost(args: { first?: number | null }): { field: number; multiplier: number } {
  return { field: 1, multiplier: assertFirst(args.first ?? pageLimits.default) };
}

export function toPageRequest(args: PageArgs, info?: GraphQLResolveInfo): PageRequest {
  const withTotal = info === undefined || info.fieldNodes.some(({ selectionSet }) => mentions(selectionSet, 'totalCount', info.fragments));
  return { limit: assertFirst(args.first), cursor: args.after ?? undefined, withTotal };
}

/** True for a field that a directive may leave out as well: counting for nothing does no harm. */
function mentions(selectionSet: SelectionSetNode | undefined, field: string, fragments: GraphQLResolveInfo['fragments']): boolean {
  return (selectionSet?.selections ?? []).some((selection) => {
    if (selection.kind === Kind.FIELD) return selection.name.value === field;
    return mentions(selection.kind === Kind.INLINE_FRAGMENT ? selection.selectionSet : fragments[selection.name.value]?.selectionSet, field, fragments);
  });
}

export function toConnection<Node>(page: Page<Node>, args: PageArgs): ConnectionShape<Node> {
  const last = page.items.length - 1;
  const edges = page.items.map((node, index) => ({ node, cursor: page.cursors?.[index] ?? (index === last ? page.nextCursor : null) }));
  return {
    edges,
    nodes: page.items,
    totalCount: page.total === null ? null : Math.min(page.total, intMax),
    pageInfo: {
      hasNextPage: page.nextCursor !== null,
      hasPreviousPage: typeof args.after === 'string',
      startCursor: edges[0]?.cursor ?? null,
      endCursor: page.nextCursor ?? edges[last]?.cursor ?? null,
    },
  };
}
