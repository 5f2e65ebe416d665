import { getOperationAST, OperationTypeNode, type ExecutionResult } from 'graphql';
import { isObject } from '../../shared/json-shapes.ts';
import { PushStream } from '../../shared/push-stream.ts';
import { openEventStream } from '../http/event-stream.ts';
import type { Exchange } from '../http/exchange.ts';
import type { Caller, Graphql } from './create-graphql.ts';
import { toWireResult } from './errors.ts';
import { prepareOperation, type Operation, type OperationRequest } from './operation.ts';
import { isStream } from './plugins.ts';
import { toJson } from './projection.ts';

const known: ReadonlySet<string> = new Set(['query', 'operationName', 'variables', 'extensions']);

/** Null for whatever is not plainly a request; Yoga has the words for that. */
function requestOf(body: Readonly<Record<string, unknown>>): OperationRequest | null {
  const { query, operationName, variables } = body;
  if (typeof query !== 'string' || Object.keys(body).some((name) => !known.has(name))) return null;
  if (operationName !== undefined && operationName !== null && typeof operationName !== 'string') return null;
  if (variables !== undefined && variables !== null && !isObject(variables)) return null;
  return { query, operationName, variables };
}

async function subscriptionOf(graphql: Graphql, request: OperationRequest, caller: Caller): Promise<Operation | null> {
  try {
    const operation = await prepareOperation(graphql, request, caller);
    if (!('args' in operation)) return null;
    const { document, operationName } = operation.args;
    return getOperationAST(document, operationName)?.operation === OperationTypeNode.SUBSCRIPTION ? operation : null;
  } catch {
    // Yoga comes to the same and answers it.
    return null;
  }
}

/**
 * Answers a subscription as server-sent events in the form of graphql-sse's distinct connections, one write an event;
 * Yoga's own way makes several streams of each answer. False, with nothing written, for anything else.
 */
export async function streamSubscription(exchange: Exchange, body: Readonly<Record<string, unknown>>, graphql: Graphql, caller: Caller): Promise<boolean> {
  const request = requestOf(body);
  const operation = request && (await subscriptionOf(graphql, request, caller));
  if (!operation) return false;
  const scope = graphql.errorScope(caller);
  const result: unknown = await operation.enveloped.subscribe(operation.args);
  const stream = openEventStream(exchange);
  const send = (event: ExecutionResult): Promise<void> | undefined => stream.write(`event: next\ndata: ${toJson(toWireResult(event, scope))}\n\n`);
  if (isStream<ExecutionResult>(result)) await PushStream.of(result).each(send, caller.signal);
  else await send(result as ExecutionResult);
  await stream.write('event: complete\ndata:\n\n');
  stream.end();
  return true;
}
