import { GraphQLError, type ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { isAbort } from '../../shared/abort.ts';
import { AppError } from '../../shared/errors.ts';
import { PushStream } from '../../shared/push-stream.ts';
import { acceptedTypes } from '../http/accept.ts';
import type { GraphqlContext } from './context.ts';
import { toWireError, toWireResult, type ErrorScope } from './errors.ts';

export function isStream<T>(value: unknown): value is AsyncIterable<T> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

/** Stops running fields when the caller has gone. */
export function useCallerSignal(): Plugin<GraphqlContext> {
  return {
    onExecute({ args, context }) {
      Object.assign(args, { signal: context.signal });
    },
  };
}

const eventStreamTypes = ['text/event-stream', 'text/*', '*/*'];

/** Over HTTP a subscription is told as server-sent events; who does not take them is told so, before it runs, instead of getting an empty 406. */
export function useEventStreamCheck(): Plugin {
  return {
    onSubscribe({ args, setResultAndStopExecution }) {
      // Only what came over HTTP has a request.
      const accept = (args.contextValue as { request?: Request }).request?.headers.get('accept');
      if (!accept || acceptedTypes(accept).some((type) => eventStreamTypes.includes(type))) return;
      const refused = new AppError('UNSUPPORTED_MEDIA_TYPE', 'Subscriptions are answered as server-sent events: send Accept: text/event-stream, or use the WebSocket.');
      setResultAndStopExecution({ errors: [new GraphQLError(refused.message, { originalError: refused })] });
    },
  };
}

/** Errors of subscriptions that run already, on every transport. */
export function useStreamErrors(scopeOf: (context: GraphqlContext) => ErrorScope): Plugin<GraphqlContext> {
  return {
    onSubscribe({ args }) {
      return {
        onSubscribeResult({ result, setResult }) {
          if (!isStream<ExecutionResult>(result)) return;
          const scope = scopeOf(args.contextValue);
          // A thrown error would be answered by breaking off; somebody who went away has nobody to be told.
          const told = PushStream.of(result).endingWith((error) => (isAbort(error) ? null : { errors: [toWireError(error, scope)] }));
          // The type asks for an iterator; who reads it asks it for one.
          setResult(told as AsyncIterable<ExecutionResult> as AsyncIterableIterator<ExecutionResult>);
        },
      };
    },
  };
}

/** The last step of every HTTP answer: whatever failed on the way leaves in the one shape of errors. */
export function useWireErrors(scopeOf: (serverContext: unknown) => ErrorScope): Plugin {
  return {
    onResultProcess(payload) {
      const { result, serverContext } = payload;
      if (Array.isArray(result)) return;
      const scope = scopeOf(serverContext);
      if (isStream<ExecutionResult>(result)) payload.setResult(PushStream.of(result).map((event) => toWireResult(event, scope)) as typeof result);
      else payload.setResult(toWireResult(result as ExecutionResult, scope) as typeof result);
    },
  };
}
