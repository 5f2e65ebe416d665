import { connect, type Socket } from 'node:net';
import { AppError } from '../../../shared/errors.ts';

export type ClamdEndpoint = { kind: 'socket'; path: string } | { kind: 'tcp'; host: string; port: number };

export type ClamdClientOptions = { endpoint: ClamdEndpoint; /** Between two signs of life of the daemon. */ idleMs: number };

const answerBytesMax = 4_096;

/** The daemon broke off a stream that it was being sent, as it does with one that is too long for it. */
export class ClamdHangUp extends Error {
  override readonly name = 'ClamdHangUp';
}

/**
 * Lets a ClamAV daemon look into bytes (INSTREAM) and resolves with its one line. Throws RUNTIME_UNAVAILABLE when it is
 * not there, says nothing for too long, or says something else than a line; a ClamdHangUp; the signal's reason.
 */
export async function scanStream(chunks: AsyncIterable<Buffer>, options: ClamdClientOptions, signal: AbortSignal): Promise<string> {
  try {
    return await ask(framed(chunks), options, signal);
  } catch (error) {
    if (!(error instanceof ClamdHangUp)) throw error;
    // A daemon that died has to be waited for; one that is well does not want these bytes, whoever asks again.
    if ((await ask(once(Buffer.from('zPING\0')), options, signal).catch(unavailableAfterHangUp)) !== 'PONG') throw unavailable(error);
    throw error;
  }
}

async function* framed(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  yield Buffer.from('zINSTREAM\0');
  for await (const chunk of chunks) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(chunk.length);
    yield Buffer.concat([length, chunk]);
  }
  yield Buffer.alloc(4);
}

async function* once(bytes: Buffer): AsyncGenerator<Buffer> {
  yield await Promise.resolve(bytes);
}

function unavailable(cause: unknown): AppError {
  return new AppError('RUNTIME_UNAVAILABLE', 'The ClamAV daemon does not answer.', { cause, internal: cause instanceof Error ? cause.message : 'unknown' });
}

function unavailableAfterHangUp(error: unknown): never {
  throw error instanceof ClamdHangUp ? unavailable(error) : error;
}

async function ask(pieces: AsyncIterable<Buffer>, { endpoint, idleMs }: ClamdClientOptions, signal: AbortSignal): Promise<string> {
  signal.throwIfAborted();
  const socket = endpoint.kind === 'socket' ? connect(endpoint.path) : connect(endpoint.port, endpoint.host);
  socket.setNoDelay(true);
  socket.setTimeout(idleMs, () => socket.destroy(new Error(`nothing for ${idleMs} ms`)));
  const onAbort = (): void => void socket.destroy();
  signal.addEventListener('abort', onAbort, { once: true });
  const answer = readAnswer(socket);
  const sending = send(socket, pieces);
  sending.catch(() => undefined);
  try {
    // It may answer and hang up before everything is sent: what it says counts, not how the sending ended.
    const line = await answer;
    if (line !== null) return line;
    await sending;
    throw new Error('it hung up without an answer');
  } catch (cause) {
    signal.throwIfAborted();
    throw isBrokenOff(cause) ? new ClamdHangUp(cause.message) : unavailable(cause);
  } finally {
    signal.removeEventListener('abort', onAbort);
    socket.destroy();
    // Nobody reads the file any more when this returns.
    await sending.catch(() => undefined);
  }
}

function isBrokenOff(cause: unknown): cause is Error {
  return cause instanceof Error && 'code' in cause && (cause.code === 'EPIPE' || cause.code === 'ECONNRESET');
}

async function send(socket: Socket, pieces: AsyncIterable<Buffer>): Promise<void> {
  for await (const piece of pieces) await write(socket, piece);
}

/** Waits until the bytes are on their way: no more than one chunk is ever held. */
async function write(socket: Socket, bytes: Buffer): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    socket.write(bytes, (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Null when the connection ends without one. */
async function readAnswer(socket: Socket): Promise<string | null> {
  return await new Promise((resolve) => {
    let text = '';
    socket.on('data', (bytes: Buffer) => {
      text += bytes.toString('latin1');
      const end = text.indexOf('\0');
      if (end !== -1 || text.length > answerBytesMax) resolve(end === -1 ? null : text.slice(0, end));
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(null));
  });
}
