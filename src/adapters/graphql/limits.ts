import { EnvelopArmorPlugin } from '@escape.tech/graphql-armor';
import { complexityFromQuery } from '@pothos/plugin-complexity';
import { GraphQLError, Kind, type DocumentNode, type ExecutionArgs } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { AppError } from '../../shared/errors.ts';

export type GraphqlLimits = {
  /** Weighed fields of one operation. The biggest page of the biggest list, in full, is about half of it. */
  complexityMax: number;
  depthMax: number;
  aliasesMax: number;
  directivesMax: number;
  tokensMax: number;
};

export const defaultLimits: GraphqlLimits = { complexityMax: 25_000, depthMax: 10, aliasesMax: 15, directivesMax: 5, tokensMax: 1500 };

/** Depth, aliases, directives and tokens of a document, checked while it is parsed and validated. */
export function useDocumentLimits(limits: GraphqlLimits): Plugin {
  return EnvelopArmorPlugin({
    maxAliases: { n: limits.aliasesMax, allowList: [] },
    maxDirectives: { n: limits.directivesMax },
    maxDepth: { n: limits.depthMax },
    maxTokens: { n: limits.tokensMax },
    // Knows nothing of the size of lists; the cost below does.
    costLimit: { enabled: false },
  });
}

/** Only the operation that runs, with all fragments: the library takes the first of a document. */
function selected({ definitions }: DocumentNode, operationName: string | null | undefined): DocumentNode {
  const kept = definitions.filter((definition) => definition.kind === Kind.FRAGMENT_DEFINITION);
  const operations = definitions.filter((definition) => definition.kind === Kind.OPERATION_DEFINITION);
  const operation = operationName ? operations.find((candidate) => candidate.name?.value === operationName) : operations[0];
  return { kind: Kind.DOCUMENT, definitions: operation ? [operation, ...kept] : kept };
}

function refusalOf(args: ExecutionArgs, complexityMax: number): GraphQLError | null {
  const document = selected(args.document, args.operationName);
  // An operation that cannot be told is the executor's to refuse.
  if (!document.definitions.some((definition) => definition.kind === Kind.OPERATION_DEFINITION)) return null;
  try {
    const { complexity } = complexityFromQuery(document, {
      schema: args.schema,
      ctx: args.contextValue as object,
      // GraphQL over HTTP may leave variables out or null.
      variables: { ...args.variableValues },
    });
    if (complexity <= complexityMax) return null;
    const message = `The operation would cost ${complexity}; at most ${complexityMax} is allowed.`;
    const error = new AppError('VALIDATION_FAILED', message, { details: { fields: [{ field: 'query', message }], cost: complexity, limit: complexityMax } });
    return new GraphQLError(message, { originalError: error });
  } catch (error) {
    if (error instanceof GraphQLError) return error;
    return new GraphQLError('The cost of the operation cannot be told.', { originalError: error instanceof Error ? error : new Error(String(error)) });
  }
}

/** Our own documents cost what they cost, and the adapters bound their variables; to weigh one takes 0.3 ms. */
function isOwn({ contextValue }: ExecutionArgs): boolean {
  return (contextValue as { isOwnDocument?: true }).isOwnDocument === true;
}

/** Weighs each foreign operation with its variables before it runs, on every transport, for subscriptions too. */
export function useCostLimit(complexityMax: number): Plugin {
  return {
    onExecute({ args, setResultAndStopExecution }) {
      const error = isOwn(args) ? null : refusalOf(args, complexityMax);
      if (error) setResultAndStopExecution({ errors: [error] });
    },
    onSubscribe({ args, setResultAndStopExecution }) {
      const error = isOwn(args) ? null : refusalOf(args, complexityMax);
      if (error) setResultAndStopExecution({ errors: [error] });
    },
  };
}
