import { Agent, fetch as fetchByUndici, type Dispatcher } from 'undici';
import { AppError } from '../../shared/errors.ts';
import type { StreamingHttp, StreamingRequest, StreamingResponse } from '../../shared/streaming-http.ts';
import { flattenHeaders } from './outgoing-http.ts';
import { ResponseBody } from './response-body.ts';

export type StreamingHttpClient = {
  request: StreamingHttp;
  /** The same for client libraries that are made for `fetch`: follows no redirect, has no time limit of its own. */
  fetch: typeof fetch;
  close(): Promise<void>;
};

const connectTimeoutMs = 10_000;

/** For inference servers, whose addresses the operator has set. Time limits are the caller's, who knows what is slow. */
export function createStreamingHttp(): StreamingHttpClient {
  const agent = new Agent({ connectTimeout: connectTimeoutMs, headersTimeout: 0, bodyTimeout: 0, pipelining: 1 });
  const request: StreamingHttp = async (outgoing, signal) => {
    signal.throwIfAborted();
    const answer = new Answer(signal);
    try {
      agent.dispatch(toDispatch(outgoing), answer);
    } catch (cause) {
      answer.onResponseError(null, cause);
    }
    return await answer.started;
  };
  const fetchLike = async (input: Parameters<typeof fetchByUndici>[0], init?: Parameters<typeof fetchByUndici>[1]): ReturnType<typeof fetchByUndici> =>
    await fetchByUndici(input, { ...init, dispatcher: agent, redirect: 'error' });
  // Undici's own types and Node's copy of them differ in name only.
  return { request, fetch: fetchLike as unknown as typeof fetch, close: () => agent.destroy() };
}

function toDispatch({ method, url, headers, body }: StreamingRequest): Dispatcher.DispatchOptions {
  const { origin, pathname, search } = new URL(url);
  return { origin, path: `${pathname}${search}`, method, headers, body };
}

/** What undici tells of one request, as a response with a body. */
class Answer implements Dispatcher.DispatchHandler {
  readonly started: Promise<StreamingResponse>;
  readonly #settle: Pick<PromiseWithResolvers<StreamingResponse>, 'resolve' | 'reject'>;
  readonly #signal: AbortSignal;
  readonly #onAbort = (): void => this.#abort();
  #controller: Dispatcher.DispatchController | null = null;
  #body: ResponseBody | null = null;

  constructor(signal: AbortSignal) {
    const { promise, resolve, reject } = Promise.withResolvers<StreamingResponse>();
    this.started = promise;
    this.#settle = { resolve, reject };
    this.#signal = signal;
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    // The caller left while the connection was being made.
    if (this.#signal.aborted) this.#abort();
  }

  onResponseStart(controller: Dispatcher.DispatchController, status: number, headers: Record<string, string | string[] | undefined>): void {
    // Informational; the answer follows.
    if (status < 200) return;
    this.#body = new ResponseBody(controller, () => this.#unlisten());
    this.#settle.resolve({ status, headers: flattenHeaders(headers), body: this.#body.chunks });
  }

  onResponseData(_controller: Dispatcher.DispatchController, chunk: Uint8Array): void {
    this.#body?.push(chunk);
  }

  onResponseEnd(): void {
    this.#body?.finish(null);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, cause: unknown): void {
    const fault = toFault(cause, this.#signal);
    this.#fail(fault);
    this.#body?.finish(fault);
  }

  #abort(): void {
    const reason: unknown = this.#signal.reason;
    this.#fail(reason);
    this.#body?.drop(reason);
    this.#controller?.abort(reason instanceof Error ? reason : new Error('aborted', { cause: reason }));
  }

  #fail(fault: unknown): void {
    this.#unlisten();
    this.#settle.reject(fault);
  }

  #unlisten(): void {
    this.#signal.removeEventListener('abort', this.#onAbort);
  }
}

function toFault(cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const internal = cause instanceof Error ? cause.message : undefined;
  return new AppError('NETWORK_FAILED', 'The connection to the model server failed.', { cause, ...(internal === undefined ? {} : { internal }) });
}
