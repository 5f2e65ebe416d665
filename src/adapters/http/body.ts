import type { IncomingMessage, ServerResponse } from 'node:http';
import { AppError, validationFailed } from '../../shared/errors.ts';
import { jsonBoundsFault } from '../../shared/json-bounds.ts';

export const bodyBytesMax = 1024 * 1024;

export function bodyTooLarge(bytesMax: number): AppError {
  return new AppError('PAYLOAD_TOO_LARGE', `The body may have ${bytesMax} bytes at most.`, { details: { max_bytes: bytesMax } });
}

/** `application/json`, in UTF-8 if it says so: other types are what a foreign page's form can send. */
export function isJsonContentType(header: string | undefined): boolean {
  const [type = '', ...parameters] = (header ?? '').toLowerCase().split(';');
  const charset = parameters.map((parameter) => parameter.trim()).find((parameter) => parameter.startsWith('charset='));
  return type.trim() === 'application/json' && (charset === undefined || /^charset="?utf-?8"?$/.test(charset));
}

/** Throws UNSUPPORTED_MEDIA_TYPE. Encoded bodies are refused, not unpacked. */
export function assertJsonBody({ headers }: IncomingMessage): void {
  if (isJsonContentType(headers['content-type']) && headers['content-encoding'] === undefined) return;
  throw new AppError('UNSUPPORTED_MEDIA_TYPE', 'Send the body as application/json in UTF-8, not encoded.');
}

/** Throws PAYLOAD_TOO_LARGE by the declared length before reading, by the counted one while reading. */
export async function readBody(req: IncomingMessage, signal: AbortSignal, bytesMax = bodyBytesMax): Promise<Buffer> {
  if (Number(req.headers['content-length'] ?? 0) > bytesMax) throw bodyTooLarge(bytesMax);
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  // The stream survives a refusal, so that the answer can still be sent.
  for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    signal.throwIfAborted();
    sizeBytes += chunk.byteLength;
    if (sizeBytes > bytesMax) throw bodyTooLarge(bytesMax);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, sizeBytes);
}

/** So much of a refused body is read and thrown away, for so long. */
const discardedBytesMax = 64 * bodyBytesMax;
const discardMsMax = 3_000;

/**
 * Takes what is left of a refused body, so that a client which sends before it reads gets the answer instead of a
 * reset. One that goes on for too long is answered all the same and cut.
 */
export async function discardBody(req: IncomingMessage, res: ServerResponse): Promise<void> {
  if (req.complete || req.destroyed) return;
  res.setHeader('connection', 'close');
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const done = (): void => resolve(undefined);
  const timer = setTimeout(done, discardMsMax);
  let sizeBytes = 0;
  req.on('data', (chunk: Buffer) => {
    sizeBytes += chunk.byteLength;
    if (sizeBytes > discardedBytesMax) done();
  });
  req.once('end', done);
  req.once('close', done);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    req.off('end', done);
    req.off('close', done);
  }
}

/** The body as a JSON object; an empty body is an empty object. */
export async function readJsonObject(req: IncomingMessage, signal: AbortSignal, bytesMax = bodyBytesMax): Promise<Record<string, unknown>> {
  const hasBody = req.headers['transfer-encoding'] !== undefined || Number(req.headers['content-length'] ?? 0) > 0;
  if (!hasBody) return {};
  assertJsonBody(req);
  const bytes = await readBody(req, signal, bytesMax);
  if (bytes.byteLength === 0) return {};
  return parseJsonObject(bytes);
}

export function parseJsonObject(bytes: Buffer): Record<string, unknown> {
  const fault = jsonBoundsFault(bytes);
  if (fault !== null) throw validationFailed([{ field: 'body', message: fault }]);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new AppError('VALIDATION_FAILED', 'The body is not valid JSON.', { details: { fields: [{ field: 'body', message: 'not valid JSON' }] }, cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw validationFailed([{ field: 'body', message: 'must be a JSON object' }]);
  }
  if (Object.hasOwn(value, '__proto__')) throw validationFailed([{ field: '__proto__', message: 'unknown field' }]);
  return value as Record<string, unknown>;
}
