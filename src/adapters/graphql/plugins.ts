import { GraphQLError, type ExecutionResult } from 'graphql';
import type { Plugin } from 'graphql-yoga';
import { isAbort } from '../../shared/abort.ts';
import { AppError } from '../../shared/errors.ts';
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

/** A stream whose failure is its last event instead of a thrown error, which transports answer by breaking off. */
export function withFinalError(results: AsyncIterable<ExecutionResult>, onError: (error: unknown) => GraphQLError): AsyncIterableIterator<ExecutionResult> {
  const source = results[Symbol.asyncIterator]();
  let ended = false;
  const stream: AsyncIterableIterator<ExecutionResult> = {
    [Symbol.asyncIterator]: () => stream,
    async next() {
      if (ended) return { done: true, value: undefined };
      try {
        const result = await source.next();
        ended = result.done === true;
        return result;
      } catch (error) {
        ended = true;
        return isAbort(error) ? { done: true, value: undefined } : { done: false, value: { errors: [onError(error)] } };
      }
    },
    async return() {
      ended = true;
      await source.return?.();
      return { done: true, value: undefined };
    },
  };
  return stream;
}

export function mapStream<T, R>(source: AsyncIterable<T>, map: (value: T) => R): AsyncIterableIterator<R> {
  const inner = source[Symbol.asyncIterator]();
  const stream: AsyncIterableIterator<R> = {
    [Symbol.asyncIterator]: () => stream,
    async next() {
      const result = await inner.next();
      return result.done ? { done: true, value: undefined } : { done: false, value: map(result.value) };
    },
    async return() {
      await inner.return?.();
      return { done: true, value: undefined };
    },
  };
  return stream;
}

/** Errors of subscriptions that run already, on every transport. */
export function useStreamErrors(scopeOf: (context: GraphqlContext) => ErrorScope): Plugin<GraphqlContext> {
  return {
    onSubscribe({ args }) {
      return {
        onSubscribeResult({ result, setResult }) {
          if (!isStream<ExecutionResult>(result)) return;
          const scope = scopeOf(args.contextValue);
          setResult(withFinalError(result, (error) => toWireError(error, scope)));
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
      if (isStream<ExecutionResult>(result)) payload.setResult(mapStream(result, (event) => toWireResult(event, scope)) as typeof result);
      else payload.setResult(toWireResult(result as ExecutionResult, scope) as typeof result);
    },
  };
}
