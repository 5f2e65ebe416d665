import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { PushStream } from '../../shared/push-stream.ts';
import type { Caller, Graphql } from './create-graphql.ts';
import { readOutcome } from './outcome.ts';
import { ProjectedResult } from './projection.ts';

type Variables = Record<string, unknown>;

export type Executor = {
  /** The document's data; throws the AppError of a GraphQL error or of a typed refusal. */
  execute: (caller: Caller) => <Data, V extends Variables>(document: TypedDocumentNode<Data, V>, variables: V) => Promise<Data>;
  /** The data of each event; throws like `execute`, before the first event or from the iterator. */
  subscribe: (caller: Caller) => <Data, V extends Variables>(document: TypedDocumentNode<Data, V>, variables: V) => Promise<PushStream<Data>>;
};

/** Runs operation documents for adapters whose callers know one kind of error. */
export function createExecutor(graphql: Pick<Graphql, 'execute' | 'subscribe'>): Executor {
  return {
    execute: (caller) => async (document, variables) => {
      const outcome = readOutcome(await graphql.execute(document, variables, caller));
      if (!outcome.ok) throw outcome.error;
      return outcome.data;
    },
    subscribe: (caller) => async (document, variables) => {
      const result = await graphql.subscribe(document, variables, caller);
      const read = (event: Parameters<typeof readOutcome>[0]): never => {
        if (event instanceof ProjectedResult) return event.data as never;
        const outcome = readOutcome(event);
        if (!outcome.ok) throw outcome.error;
        // The document's own type says what its data is.
        return outcome.data as never;
      };
      return result instanceof PushStream ? result.map(read) : read(result);
    },
  };
}
