import type { ExecutionArgs, GraphQLError } from 'graphql';
import type { Caller, Graphql } from './create-graphql.ts';

export type OperationRequest = {
  readonly query: string;
  readonly operationName?: string | null | undefined;
  readonly variables?: Record<string, unknown> | null | undefined;
};

export type Operation = { enveloped: ReturnType<Graphql['yoga']['getEnveloped']>; args: ExecutionArgs };

/** Parses and validates a foreign document behind all limits; errors say why it may not run. Throws what the limits throw. */
export async function prepareOperation({ yoga, schema }: Graphql, request: OperationRequest, caller: Caller): Promise<Operation | readonly GraphQLError[]> {
  const enveloped = yoga.getEnveloped({ ...caller, params: request });
  const document = enveloped.parse(request.query) as ExecutionArgs['document'];
  const faults = enveloped.validate(enveloped.schema, document) as readonly GraphQLError[];
  if (faults.length > 0) return faults;
  const contextValue: unknown = await enveloped.contextFactory();
  return { enveloped, args: { schema, document, contextValue, operationName: request.operationName, variableValues: request.variables } };
}
