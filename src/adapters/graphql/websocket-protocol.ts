import { randomUUID } from 'node:crypto';
import type { GraphQLError} from 'graphql';
import { type ExecutionArgs, type ExecutionResult } from 'graphql';
import { makeServer, type Context, type Server, type SubscribePayload } from 'graphql-ws';
import { StopReason } from '../../shared/abort.ts';
import { AppError } from '../../shared/errors.ts';
import { PushStream } from '../../shared/push-stream.ts';
import { bearerKey } from '../http/credential.ts';
import type { Caller } from './create-graphql.ts';
import { toWireError, toWireResult } from './errors.ts';
import { prepareOperation, type Operation } from './operation.ts';
import { isStream } from './plugins.ts';
import { toJson } from './projection.ts';
import type { GraphqlSocketLimits, GraphqlSocketOptions } from './websocket.ts';
import type { SocketExtra } from './websocket-channel.ts';

type SocketContext = Context<Record<string, unknown>, SocketExtra>;
/** Nothing when there is room for more, else resolves when there is. */
type Send = (result: ExecutionResult) => Promise<void> | undefined;
/** What `onSubscribe` prepares and `execute`, `subscribe` and `onOperation` use. */
type Prepared = ExecutionArgs & { rootValue: { enveloped: Operation['enveloped']; operation: AbortController; caller: Caller; send: Send } };

const forbidden = 4403;

function headerOf(params: Readonly<Record<string, unknown>>): string | null {
  const { authorization, Authorization } = params;
  const value = authorization ?? Authorization;
  return typeof value === 'string' ? value : null;
}

class Protocol {
  readonly #options: GraphqlSocketOptions & { limits: GraphqlSocketLimits };

  constructor(options: GraphqlSocketOptions & { limits: GraphqlSocketLimits }) {
    this.#options = options;
  }

  /** A key in the upgrade's headers, or in the first message; false closes with 4403. */
  async connect({ extra, connectionParams }: SocketContext): Promise<boolean> {
    const header = headerOf(connectionParams ?? {});
    if (header !== null) {
      const key = bearerKey(header);
      extra.principal = key === null ? null : await this.#options.authenticate(key, extra.origin);
    } else if (extra.isRefused) {
      return false;
    }
    const { principal, channel } = extra;
    if (principal === null) return false;
    this.#options.onRevoked(principal, channel.signal, () => channel.close(forbidden, 'the key is not good any more'));
    return true;
  }

  async prepare(context: SocketContext, id: string, payload: SubscribePayload): Promise<Prepared | readonly GraphQLError[]> {
    const { extra } = context;
    const operation = new AbortController();
    const signal = AbortSignal.any([extra.channel.signal, operation.signal]);
    const caller: Caller = { principal: extra.principal, requestId: randomUUID(), peer: extra.origin.peer, signal };
    try {
      this.#checkCount(context);
      if (extra.principal) await this.#options.limiter.take(extra.principal);
      const prepared = await prepareOperation(this.#options.graphql, payload, caller);
      if (!('args' in prepared)) return this.#wire(prepared, caller);
      const send: Send = (result) => extra.channel.send(`{"id":${JSON.stringify(id)},"type":"next","payload":${toJson(result)}}`);
      return { ...prepared.args, rootValue: { enveloped: prepared.enveloped, operation, caller, send } };
    } catch (error) {
      // Limits throw out of `parse` and `validate`; uncaught they would cost the client its whole socket.
      return this.#wire([error], caller);
    }
  }

  #checkCount({ subscriptions }: SocketContext): void {
    const { operationsMax } = this.#options.limits;
    if (Object.keys(subscriptions).length <= operationsMax) return;
    throw new AppError('RATE_LIMITED', `At most ${operationsMax} operations may run on one socket at once.`, { details: { limit: operationsMax }, retryAfterSeconds: 1 });
  }

  #wire(errors: readonly unknown[], caller: Caller): readonly GraphQLError[] {
    const scope = this.#options.graphql.errorScope(caller);
    return errors.map((error) => toWireError(error, scope));
  }

  async run(args: Prepared, kind: 'execute' | 'subscribe'): Promise<AsyncIterableIterator<ExecutionResult> | ExecutionResult> {
    const { enveloped, caller, send } = args.rootValue;
    const scope = this.#options.graphql.errorScope(caller);
    try {
      // Our resolvers know no root value; the prepared things stay behind.
      const { rootValue: _prepared, ...rest } = args;
      const result: unknown = await enveloped[kind](rest);
      if (!isStream<ExecutionResult>(result)) return toWireResult(result as ExecutionResult, scope);
      return sending(PushStream.of(result), (event) => send(toWireResult(event, scope)), args.rootValue);
    } catch (error) {
      return { errors: [toWireError(error, scope)] };
    }
  }
}

/**
 * Sends the results by itself, because the protocol's own way looks at each message again: to the protocol the stream
 * is an empty one that ends when all are sent. A client's `complete` comes as `return()`: the operation's signal ends
 * what waits inside.
 */
function sending(stream: PushStream<ExecutionResult>, send: Send, { caller, operation }: Prepared['rootValue']): AsyncIterableIterator<ExecutionResult> {
  const silent: AsyncIterableIterator<ExecutionResult> = {
    [Symbol.asyncIterator]: () => silent,
    async next() {
      await stream.each(send, caller.signal);
      return { done: true, value: undefined };
    },
    return() {
      operation.abort(new StopReason('caller_gone'));
      return Promise.resolve({ done: true, value: undefined });
    },
  };
  return silent;
}

/** The protocol's server side with our authentication, limits and errors, shared by all sockets. */
export function createProtocol(options: GraphqlSocketOptions & { limits: GraphqlSocketLimits }): Server<SocketExtra> {
  const protocol = new Protocol(options);
  return makeServer<Record<string, unknown>, SocketExtra>({
    connectionInitWaitTimeout: options.limits.initMsMax,
    onConnect: (context) => protocol.connect(context),
    onSubscribe: (context, id, payload) => protocol.prepare(context, id, payload),
    // `prepare` made these arguments; the library's type knows only the common part.
    execute: (args) => protocol.run(args as Prepared, 'execute') as Promise<ExecutionResult>,
    subscribe: (args) => protocol.run(args as Prepared, 'subscribe'),
  });
}

