import { request as send } from 'undici';
import { AppError } from '../../../src/shared/errors.ts';
import type { OutgoingHttp, OutgoingRequest } from '../../../src/shared/outgoing-http.ts';

async function readBody(body: AsyncIterable<Buffer> & { destroy(): unknown }, { maxBytes, overflow = 'fail' }: OutgoingRequest): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  let total = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    total += chunk.length;
    if (total <= maxBytes) continue;
    if (overflow === 'fail') throw new AppError('PAYLOAD_TOO_LARGE', 'too long');
    body.destroy();
    break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}

/** The outgoing port over plain sockets to loopback doubles, so that sources are tested without the guards of the real client. */
export const loopbackHttp: OutgoingHttp = async (request, signal) => {
  signal.throwIfAborted();
  try {
    const { method, url, headers = {}, body = null } = request;
    const response = await send(url, { method, headers, body, signal });
    const flat = Object.entries(response.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(', ') : (value ?? '')]);
    return { status: response.statusCode, headers: Object.fromEntries(flat) as Record<string, string>, body: await readBody(response.body, request) };
  } catch (cause) {
    if (signal.aborted) throw signal.reason;
    if (cause instanceof AppError) throw cause;
    throw new AppError('NETWORK_FAILED', 'no answer', { cause });
  }
};
