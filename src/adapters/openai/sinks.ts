import type { RelayHead, RelaySink } from '../../domains/chat/relay/types.ts';
import { AppError } from '../../shared/errors.ts';
import { drained } from '../http/event-stream.ts';
import type { Exchange } from '../http/exchange.ts';
import { sessionHeader } from './recording.ts';

const collectedBytesMax = 64 * 1024 * 1024;

type SinkOptions = { ignored: readonly string[]; stalledMsMax: number };

function headersOf({ contentType, sessionId }: RelayHead, { ignored }: SinkOptions): Record<string, string> {
  return {
    'content-type': contentType,
    'cache-control': 'no-store',
    ...(contentType === 'text/event-stream' && { 'x-accel-buffering': 'no' }),
    ...(sessionId !== null && { [sessionHeader]: sessionId }),
    ...(ignored.length > 0 && { 'x-ignored-fields': ignored.join(', ') }),
  };
}

/** Passes bytes on as they come; at most what the connection takes at once is held. */
export function createResponseSink({ res, signal }: Exchange, options: SinkOptions): RelaySink {
  return {
    begin(head) {
      const { contentType, bytes } = head;
      res.writeHead(200, { ...headersOf(head, options), ...(bytes !== null && { 'content-length': bytes }) });
      // What comes in one piece goes with its headers.
      if (contentType === 'text/event-stream') res.flushHeaders();
    },
    write(bytes) {
      return res.write(bytes) ? undefined : drained(res, signal, options.stalledMsMax);
    },
  };
}

/** Holds the answer, for what has to be changed as a whole. */
export function createCollectingSink({ res }: Exchange, options: SinkOptions): RelaySink & { finish(change: (body: Buffer) => Buffer): void } {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  let headers: Record<string, string> = {};
  return {
    begin(head) {
      headers = headersOf(head, options);
    },
    write(chunk) {
      bytes += chunk.length;
      if (bytes > collectedBytesMax) throw new AppError('PAYLOAD_TOO_LARGE', 'The answer is too large to be encoded; ask for `encoding_format: "float"` or for fewer inputs.');
      chunks.push(chunk);
      return undefined;
    },
    finish(change) {
      const body = change(Buffer.concat(chunks));
      res.writeHead(200, { ...headers, 'content-length': body.byteLength }).end(body);
    },
  };
}
