import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { validate, type DocumentNode, type ExecutionResult, type GraphQLSchema } from 'graphql';
import { createYoga, type YogaServerInstance } from 'graphql-yoga';
import { narrowDeployments } from '../../domains/deployments/narrow-deployments.ts';
import type { Logger } from '../../shared/logger.ts';
import type { Principal } from '../../shared/principal.ts';
import { PushStream } from '../../shared/push-stream.ts';
import type { GraphqlContext, GraphqlServices } from './context.ts';
import { toWireError, toWireResult, type ErrorScope } from './errors.ts';
import { defaultLimits, useCostLimit, useDocumentLimits, type GraphqlLimits } from './limits.ts';
import { useProjection } from './projection.ts';
import { isStream, useCallerSignal, useEventStreamCheck, useStreamErrors, useWireErrors } from './plugins.ts';
import { tokenProjection } from './schema/chat/message.ts';
import { buildSchema } from './schema/schema.ts';

/** Who runs an operation, and until when. */
export type Caller = {
  principal: Principal | null;
  requestId: string;
  /** Address of the other end, where it is known. */
  peer?: string | null;
  signal: AbortSignal;
};
/** What Yoga's handler and `getEnveloped` are given. */
export type ServerContext = Caller & { req?: IncomingMessage; res?: ServerResponse; isOwnDocument?: true };

export type GraphqlOptions = { services: GraphqlServices; logger: Logger; limits?: Partial<GraphqlLimits> };

type Variables = Readonly<Record<string, unknown>>;

export type Graphql = {
  schema: GraphQLSchema;
  yoga: YogaServerInstance<ServerContext, GraphqlContext>;
  errorScope(caller: Pick<Caller, 'requestId'>): ErrorScope;
  /** Runs one of our own documents; all plug-ins but those that look at foreign documents apply. Never rejects. */
  execute<Data, V extends Variables>(document: TypedDocumentNode<Data, V>, variables: V, caller: Caller): Promise<ExecutionResult<Data>>;
  /** The same for a subscription; a result instead of a stream says why there is none. */
  subscribe<Data, V extends Variables>(document: TypedDocumentNode<Data, V>, variables: V, caller: Caller): Promise<PushStream<ExecutionResult<Data>> | ExecutionResult<Data>>;
};

function createServer({ services, limits }: GraphqlOptions, schema: GraphQLSchema, scopeOf: Graphql['errorScope']) {
  const applied = { ...defaultLimits, ...limits };
  return createYoga<ServerContext, GraphqlContext>({
    schema,
    graphqlEndpoint: '/graphql',
    // The front in `server.ts` answers for other origins; a wildcard here would let any page in.
    cors: false,
    multipart: false,
    batching: false,
    landingPage: false,
    graphiql: false,
    // The handler in http.ts reads and counts bodies.
    maxRequestBodySize: false,
    // Errors are mapped and logged once, by useWireErrors.
    maskedErrors: false,
    logging: false,
    context: ({ principal, requestId, peer = null, signal }) => ({ principal, origin: { requestId, peer }, signal, services: servicesFor(principal, services) }),
    plugins: [
      useDocumentLimits(applied),
      useCostLimit(applied.complexityMax),
      useCallerSignal(),
      useEventStreamCheck(),
      useProjection(tokenProjection),
      useStreamErrors(({ origin }) => scopeOf(origin)),
      // The server context is what handleHttp passes below.
      useWireErrors((serverContext) => ({ ...scopeOf(serverContext as ServerContext), isHttp: true })),
    ],
  });
}

/** A key for certain deployments meets no others, whichever way it comes. */
function servicesFor(principal: Principal | null, services: GraphqlServices): GraphqlServices {
  return principal?.allowedDeployments ? { ...services, deployments: narrowDeployments(services.deployments, principal) } : services;
}

/** The schema with everything around it that every transport shares. */
export function createGraphql(options: GraphqlOptions): Graphql {
  const schema = buildSchema();
  const errorScope: Graphql['errorScope'] = ({ requestId }) => ({ requestId, logger: options.logger });
  const yoga = createServer(options, schema, errorScope);

  async function run(document: DocumentNode, variables: Variables, caller: Caller, kind: 'execute' | 'subscribe'): Promise<unknown> {
    try {
      const enveloped = yoga.getEnveloped({ ...caller, isOwnDocument: true });
      const contextValue: unknown = await enveloped.contextFactory();
      return await enveloped[kind]({ schema, document, variableValues: variables, contextValue });
    } catch (error) {
      return { errors: [toWireError(error, errorScope(caller))] };
    }
  }

  return {
    schema,
    yoga,
    errorScope,
    // Documents are typed against the printed schema, which a test keeps equal to this one.
    execute: async <Data>(document: DocumentNode, variables: Variables, caller: Caller) =>
      toWireResult((await run(document, variables, caller, 'execute')) as ExecutionResult<Data>, errorScope(caller)),
    subscribe: async <Data>(document: DocumentNode, variables: Variables, caller: Caller) => {
      const result = (await run(document, variables, caller, 'subscribe')) as AsyncIterable<ExecutionResult<Data>> | ExecutionResult<Data>;
      const scope = errorScope(caller);
      return isStream<ExecutionResult<Data>>(result) ? PushStream.of(result).map((event) => toWireResult(event, scope)) : toWireResult(result, scope);
    },
  };
}

/** Faults of our own operation documents; empty when all fit the schema. */
export function validateDocuments(schema: GraphQLSchema, documents: readonly DocumentNode[]): readonly string[] {
  return documents.flatMap((document) => validate(schema, document).map((error) => error.message));
}
