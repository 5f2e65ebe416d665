import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import type * as z from 'zod';
import type { ErrorCode } from '../../shared/errors.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Method } from './matcher.ts';

/** Runs one of our own operation documents for the caller; throws AppError for typed and for GraphQL errors alike. */
export type Execute = <Data, Variables extends Record<string, unknown>>(document: TypedDocumentNode<Data, Variables>, variables: Variables) => Promise<Data>;
/** The same for a subscription. Ends quietly when the exchange's signal aborts. */
export type Subscribe = <Data, Variables extends Record<string, unknown>>(document: TypedDocumentNode<Data, Variables>, variables: Variables) => Promise<AsyncIterable<Data>>;

export type Call<Query, Body> = {
  params: Readonly<Record<string, string>>;
  query: Query;
  body: Body;
  exchange: Exchange;
  execute: Execute;
  subscribe: Subscribe;
  /** To be sent with an answer that the route writes itself. */
  headers: Readonly<Record<string, string>>;
};

/** `streamed`: the route has written the response itself. */
export type Answer = { status: number; body: unknown } | { streamed: true };

export type RestRoute = {
  method: Method;
  /** Below `/api`; `{model_id+}` spans slashes. */
  path: string;
  operationId: string;
  tag: 'Models' | 'Downloads' | 'Deployments' | 'System' | 'Chat';
  summary: string;
  query: z.ZodObject | null;
  body: z.ZodObject | null;
  /** Success status and schema; null = no body. */
  status: number;
  response: z.ZodType | null;
  /** Content type of the success answer when it is not JSON. */
  contentType?: string;
  errors: readonly ErrorCode[];
  handle: (call: Call<unknown, unknown>) => Promise<Answer>;
};

type Definition<Q extends z.ZodObject, B extends z.ZodObject> = Omit<RestRoute, 'query' | 'body' | 'handle'> & {
  query?: Q;
  body?: B;
  handle: (call: Call<z.output<Q>, z.output<B>>) => Promise<Answer>;
};

/** Ties the schemas to the handler's types; the handler (`handler.ts`) parses before it calls. */
export function defineRoute<Q extends z.ZodObject, B extends z.ZodObject>(definition: Definition<Q, B>): RestRoute {
  const { handle, query, body, ...rest } = definition;
  // The one place where the parsed values lose their static type on the way through the table.
  return { ...rest, query: query ?? null, body: body ?? null, handle: handle as RestRoute['handle'] };
}
