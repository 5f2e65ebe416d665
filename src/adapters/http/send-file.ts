import { defaultStalledMsMax, drained } from './event-stream.ts';
import type { Exchange } from './exchange.ts';

/** Small pieces are sent together. */
const pieceCharsMin = 32 * 1024;

/** Answers with a file that is made as it is sent; what has been sent is not kept. A fault on the way cuts the answer, so that nobody takes half for whole. */
export async function sendFile({ res, signal }: Exchange, headers: Readonly<Record<string, string>>, chunks: AsyncIterable<string>): Promise<void> {
  res.writeHead(200, { 'cache-control': 'no-store', ...headers });
  let waiting = '';
  for await (const chunk of chunks) {
    signal.throwIfAborted();
    waiting += chunk;
    if (waiting.length < pieceCharsMin) continue;
    const hasRoom = res.write(waiting);
    waiting = '';
    if (!hasRoom) await drained(res, signal, defaultStalledMsMax);
  }
  res.end(waiting);
}
