import type { IncomingMessage } from 'node:http';
import { RequestError } from './request-error.ts';

export const bodyBytesMax = 8 * 1024 * 1024;

/** The JSON of a request body of at most `bodyBytesMax`. */
export async function readJson(request: IncomingMessage): Promise<unknown> {
  const tooLarge = new RequestError(413, 'payload_too_large', `A body may have ${bodyBytesMax} bytes at most.`);
  if (Number(request.headers['content-length'] ?? 0) > bodyBytesMax) throw tooLarge;
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    length += part.length;
    if (length > bodyBytesMax) throw tooLarge;
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch {
    throw new RequestError(400, 'invalid_json', 'The body is not valid JSON.');
  }
}
