import type { TypedDocumentNode } from '@graphql-typed-document-node/core';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { print } from 'graphql/language/printer.js';
import { sleep } from '../shared/async.ts';
import { AppError, type ErrorCode } from '../shared/errors.ts';
import { ServiceUnreachable, toErrorCode } from './failure.ts';

export type ServiceClientOptions = { url: string; key: string };

type WireError = { message: string; extensions?: { code?: unknown; details?: unknown } };
type WireResult<Result> = { data?: Result | null; errors?: readonly WireError[] };
type Refusal = { code: ErrorCode; message: string };

const reconnectsMax = 5;
const reconnectPauseMs = 500;

/** A connection that ended before the stream had; what follows may be had by asking again. */
class StreamBroken extends ServiceUnreachable {}

function unwrap<Result>({ data, errors }: WireResult<Result>): Result {
  const [error] = errors ?? [];
  if (error) {
    const details = error.extensions?.details;
    throw new AppError(toErrorCode(error.extensions?.code), error.message, typeof details === 'object' && details !== null ? { details: details as Record<string, unknown> } : {});
  }
  if (data === undefined || data === null) throw new AppError('INTERNAL', 'The service answered without data.');
  return data;
}

/** The payload of a mutation when it was carried out; what was refused is thrown. */
export function accept<Payload extends object>(payload: Payload): Exclude<Payload, Refusal> {
  if ('code' in payload && 'message' in payload) {
    const refusal = payload as unknown as Refusal & Record<string, unknown>;
    throw new AppError(toErrorCode(refusal.code), refusal.message);
  }
  // Refusals are the members with a code, and they have just been thrown.
  return payload as Exclude<Payload, Refusal>;
}

/** The service's GraphQL API as a program outside of it sees it: HTTP, and server-sent events for what is live. */
export class ServiceClient {
  readonly url: string;
  readonly #key: string;

  constructor({ url, key }: ServiceClientOptions) {
    this.url = url;
    this.#key = key;
  }

  async execute<Result, Variables>(document: TypedDocumentNode<Result, Variables>, variables: Variables, signal: AbortSignal): Promise<Result> {
    const response = await this.#post(print(document), variables, { accept: 'application/json', signal });
    return unwrap(await this.#readJson<Result>(response, signal));
  }

  /** The events of one connection; throws when it ends before the service has ended the stream. */
  async *subscribe<Result, Variables>(document: TypedDocumentNode<Result, Variables>, variables: Variables, signal: AbortSignal): AsyncGenerator<Result, void, undefined> {
    const response = await this.#post(print(document), variables, { accept: 'text/event-stream', signal });
    if (!(response.headers.get('content-type') ?? '').includes('text/event-stream')) {
      yield unwrap(await this.#readJson<Result>(response, signal));
      return;
    }
    for await (const { event, data } of this.#readEvents(response, signal)) {
      if (event === 'complete') return;
      if (event === 'next') yield unwrap(JSON.parse(data) as WireResult<Result>);
    }
    throw new StreamBroken(`The connection to ${this.url} ended.`);
  }

  /** Like `subscribe`, and asks again when the connection breaks: `variables` says from where each time. */
  async *follow<Result, Variables>(document: TypedDocumentNode<Result, Variables>, variables: () => Variables, signal: AbortSignal): AsyncGenerator<Result, void, undefined> {
    for (let failures = 0; ; failures += 1) {
      try {
        for await (const event of this.subscribe(document, variables(), signal)) {
          failures = 0;
          yield event;
        }
        return;
      } catch (error) {
        if (!(error instanceof ServiceUnreachable) || failures >= reconnectsMax) throw error;
        await sleep(reconnectPauseMs, signal);
      }
    }
  }

  async #post(query: string, variables: unknown, { accept: type, signal }: { accept: string; signal: AbortSignal }): Promise<Response> {
    try {
      return await fetch(new URL('/graphql', this.url), {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: type, authorization: `Bearer ${this.#key}` },
        body: JSON.stringify({ query, variables }),
        // A key must not follow to wherever somebody points.
        redirect: 'error',
        signal,
      });
    } catch (error) {
      signal.throwIfAborted();
      throw new ServiceUnreachable(`No service is reachable at ${this.url}.`, error);
    }
  }

  async #readJson<Result>(response: Response, signal: AbortSignal): Promise<WireResult<Result>> {
    try {
      const body: unknown = await response.json();
      if (typeof body === 'object' && body !== null && ('data' in body || 'errors' in body)) return body as WireResult<Result>;
    } catch (error) {
      signal.throwIfAborted();
      throw new ServiceUnreachable(`What answers at ${this.url} is not llm-manager (status ${response.status}).`, error);
    }
    throw new ServiceUnreachable(`What answers at ${this.url} is not llm-manager (status ${response.status}).`);
  }

  async *#readEvents(response: Response, signal: AbortSignal): AsyncGenerator<EventSourceMessage, void, undefined> {
    const waiting: EventSourceMessage[] = [];
    const parser = createParser({ onEvent: (event) => waiting.push(event) });
    const decoder = new TextDecoder();
    if (response.body === null) return;
    try {
      for await (const chunk of response.body) {
        parser.feed(decoder.decode(chunk, { stream: true }));
        yield* waiting.splice(0);
      }
    } catch (error) {
      signal.throwIfAborted();
      throw error instanceof AppError ? error : new StreamBroken(`The connection to ${this.url} broke.`, error);
    }
  }
}
