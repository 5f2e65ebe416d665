import { AppError } from '../../../shared/errors.ts';
import type { Clock } from '../../../shared/clock.ts';
import type { StreamingHttp, StreamingRequest, StreamingResponse } from '../../../shared/streaming-http.ts';
import { upstreamFault } from './upstream-faults.ts';

export type CompletionRequestDeps = { http: StreamingHttp; clock: Clock; busyWaitMs: number };

/** Busy, or a proxy whose server is just coming: a later try may succeed, and nothing has been said yet. */
const busyStatuses = [429, 502, 503, 504];
const firstPauseMs = 250;
const pauseMsMax = 5_000;
const faultBytesMax = 64 * 1024;

/**
 * Sends the request until the engine takes it, for as long as it may be busy. Throws OVERLOADED after that, and what
 * `upstreamFault` makes of any other refusal.
 */
export async function openCompletion(request: StreamingRequest, deps: CompletionRequestDeps, signal: AbortSignal): Promise<StreamingResponse> {
  const { http, clock, busyWaitMs } = deps;
  const startedMs = clock.monotonicMs();
  for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, pauseMsMax)) {
    const response = await http(request, signal);
    if (response.status >= 200 && response.status < 300) return response;
    const fault = upstreamFault(response.status, await readFaultBody(response));
    if (!busyStatuses.includes(response.status)) throw fault;
    const waitMs = Math.max(pauseMs, retryAfterMs(response));
    if (clock.monotonicMs() - startedMs + waitMs > busyWaitMs) {
      throw new AppError('OVERLOADED', 'The model is busy with other requests; try again later.', { cause: fault, retryAfterSeconds: Math.ceil(pauseMsMax / 1_000) });
    }
    await clock.sleep(waitMs, signal);
  }
}

/** Without its parameters, in lower case; empty where the engine does not say. */
export function mediaTypeOf({ headers }: StreamingResponse): string {
  return (headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

function retryAfterMs({ headers }: StreamingResponse): number {
  const seconds = Number(headers['retry-after'] ?? 0);
  return Number.isFinite(seconds) && seconds > 0 ? seconds * 1_000 : 0;
}

/** Its beginning, as JSON where it is; leaving the loop closes the connection. */
async function readFaultBody({ body }: StreamingResponse): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    bytes += chunk.length;
    if (bytes >= faultBytesMax) break;
  }
  const text = Buffer.concat(chunks).toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    // Proxies answer with a page of HTML; the status says enough.
    return undefined;
  }
}
