import { Agent, fetch as fetchByUndici, request as send } from 'undici';
import { AppError } from '../../shared/errors.ts';
import type { StreamingHttp } from '../../shared/streaming-http.ts';
import { flattenHeaders } from './outgoing-http.ts';

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
  const request: StreamingHttp = async ({ method, url, headers, body }, signal) => {
    signal.throwIfAborted();
    try {
      const response = await send(url, { method, headers, body, signal, dispatcher: agent });
      return { status: response.statusCode, headers: flattenHeaders(response.headers), body: guarded(response.body, signal) };
    } catch (cause) {
      throw toFault(cause, signal);
    }
  };
  const fetchLike = async (input: Parameters<typeof fetchByUndici>[0], init?: Parameters<typeof fetchByUndici>[1]): ReturnType<typeof fetchByUndici> =>
    await fetchByUndici(input, { ...init, dispatcher: agent, redirect: 'error' });
  // Undici's own types and Node's copy of them differ in name only.
  return { request, fetch: fetchLike as unknown as typeof fetch, close: () => agent.destroy() };
}

async function* guarded(body: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    throw toFault(cause, signal);
  }
}

function toFault(cause: unknown, signal: AbortSignal): unknown {
  if (signal.aborted) return signal.reason;
  const internal = cause instanceof Error ? cause.message : undefined;
  return new AppError('NETWORK_FAILED', 'The connection to the model server failed.', { cause, ...(internal === undefined ? {} : { internal }) });
}
