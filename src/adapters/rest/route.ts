import type * as z from 'zod';
import type { ExportedSession, ExportFormat } from '../../domains/chat/types.ts';
import { AppError, type ErrorCode } from '../../shared/errors.ts';
import type { Executor } from '../graphql/executor.ts';
import type { EventStream } from '../http/event-stream.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Method } from './matcher.ts';

export type Call<Query, Body> = {
  params: Readonly<Record<string, string>>;
  query: Query;
  body: Body;
  exchange: Exchange;
  /** Runs an operation document for the caller; throws the AppError of whatever went wrong. */
  execute: ReturnType<Executor['execute']>;
  subscribe: ReturnType<Executor['subscribe']>;
  /** A session as a file, piece by piece: one text of a GraphQL answer would have to be held as a whole. */
  exportSession: (sessionId: string, format: ExportFormat) => Promise<ExportedSession>;
  /** Answers as server-sent events from here on; errors are thrown before. Ends when the key stops being good. */
  openStream: (headers?: Readonly<Record<string, string>>) => EventStream;
};

/** `streamed`: the route has written the response itself. */
export type Answer = { status: number; body: unknown } | { streamed: true };

/** What a route answers instead of JSON when it is asked to. */
export type StreamAnswer = { description: string; schema: z.ZodType };

export type HeaderInput = { name: string; description: string };

export type RestRoute = {
  method: Method;
  /** Below `/api`; `{model_id+}` spans slashes. */
  path: string;
  operationId: string;
  tag: 'Models' | 'Downloads' | 'Deployments' | 'System' | 'Chat';
  summary: string;
  query: z.ZodObject | null;
  body: z.ZodObject | null;
  /** No body says the same as an empty one, and that is enough. */
  mayLackBody?: boolean;
  /** Statuses of success; the same schema for each. */
  statuses: readonly number[];
  /** Null = no body. */
  response: z.ZodType | null;
  /** Content types of the success answer when it is a file. */
  contentTypes?: readonly string[];
  stream?: StreamAnswer;
  headers?: readonly HeaderInput[];
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

/** The payload of a mutation; its refusals have been thrown by the executor. */
export function payloadOf<Result extends { __typename: string }, Name extends Result['__typename']>(result: Result, name: Name): Extract<Result, { __typename: Name }> {
  if (result.__typename !== name) throw new Error(`${name} expected, got ${result.__typename}`);
  return result as Extract<Result, { __typename: Name }>;
}

/** What a query with a nullable root has found. */
export function found<T>(value: T | null | undefined, code: ErrorCode, message: string): T {
  if (value === null || value === undefined) throw new AppError(code, message);
  return value;
}

export const idempotencyHeader: HeaderInput = { name: 'Idempotency-Key', description: 'The same key again answers with the first result instead of doing it twice.' };

/** The caller's own key for "the same request again". */
export function idempotencyKeyOf({ req }: Pick<Exchange, 'req'>): string | null {
  const given = req.headers['idempotency-key'];
  return typeof given === 'string' ? given : null;
}
