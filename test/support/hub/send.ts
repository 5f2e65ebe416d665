/** Writes answers: ranges as RFC 9110 has them, and the faults that hit a body half-way. */
import { once } from 'node:events';
import type { OutgoingHttpHeaders } from 'node:http';
import type { Content } from './content.ts';
import { toContent } from './content.ts';
import { findFault } from './faults.ts';
import type { Exchange } from './http-double.ts';
import { pause, whileConnected } from './http-double.ts';

const CHUNK_BYTES = 128 * 1024;
/** Short enough that a limited connection looks steady to a speed meter. */
const PACED_STEPS_PER_SECOND = 20;

export type Reply = {
  status?: number;
  headers?: OutgoingHttpHeaders;
  body?: Content | Uint8Array | string;
  /** Honour Range and If-Range. Only a 200 can become a 206. */
  ranges?: boolean;
};

export type BodyWriter = {
  /** False when the connection is gone or a fault has ended the answer. */
  write(bytes: Uint8Array): Promise<boolean>;
  end(): void;
};

type Part = { start: number; end: number } | 'unsatisfiable' | null;

/** One range; several at once are ignored, as a server may. */
function parseRange(header: string | undefined, size: number): Part {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return null;
  const [, first = '', last = ''] = match;
  if (first === '') return Number(last) === 0 || size === 0 ? 'unsatisfiable' : { start: Math.max(0, size - Number(last)), end: size };
  const start = Number(first);
  if (start >= size) return 'unsatisfiable';
  const end = last === '' ? size : Math.min(size, Number(last) + 1);
  return end <= start ? null : { start, end };
}

function requestedPart({ req, faults }: Exchange, reply: Reply, size: number): Part {
  if (!reply.ranges || (reply.status ?? 200) !== 200 || findFault(faults, 'ignore_range')) return null;
  const condition = req.headers['if-range'];
  if (typeof condition === 'string' && condition !== reply.headers?.['etag']) return null;
  return parseRange(req.headers.range, size);
}

function writeHead(exchange: Exchange, status: number, headers: OutgoingHttpHeaders): void {
  const etag = findFault(exchange.faults, 'etag');
  exchange.entry.status = status;
  exchange.res.writeHead(status, etag ? { ...headers, etag: etag.value } : headers);
}

/** Returns true when the fault that ends this answer was reached. */
async function cut(exchange: Exchange): Promise<boolean> {
  const { res, faults, signal } = exchange;
  const stall = findFault(faults, 'stall');
  if (stall) {
    await whileConnected(stall.until ?? null, signal);
    return signal.aborted;
  }
  if (findFault(faults, 'reset')) res.socket?.resetAndDestroy();
  else if (findFault(faults, 'short')?.noLength) res.end();
  else res.socket?.end();
  return true;
}

function flipBit(bytes: Uint8Array, index: number): Uint8Array {
  if (index < 0 || index >= bytes.length) return bytes;
  const copy = Buffer.from(bytes);
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
}

/** Bytes through all faults of the exchange; used for files and for streams of lines. */
export function createBodyWriter(exchange: Exchange, startOffset = 0): BodyWriter {
  const { res, faults, entry, log, signal } = exchange;
  const rate = findFault(faults, 'rate')?.bytesPerSecond;
  const flip = findFault(faults, 'flip')?.atByte ?? -1;
  let cutAt = (findFault(faults, 'stall') ?? findFault(faults, 'reset') ?? findFault(faults, 'short'))?.afterBytes ?? Infinity;
  const startedAt = performance.now();
  let sent = 0;
  entry.firstByte = startOffset;

  const writePlain = async (bytes: Uint8Array): Promise<void> => {
    const flowing = res.write(flipBit(bytes, flip - startOffset - sent));
    sent += bytes.length;
    entry.bytesSent = sent;
    log.changed();
    if (!flowing && !signal.aborted) await once(res, 'drain', { signal }).catch(() => undefined);
    if (rate !== undefined) await pause(Math.max(0, (sent / rate) * 1000 - (performance.now() - startedAt)), signal);
  };
  return {
    write: async (bytes) => {
      let rest = bytes;
      while (sent + rest.length >= cutAt && !signal.aborted) {
        const before = rest.subarray(0, cutAt - sent);
        // The callback of the last write says that the kernel has the bytes; a reset sent earlier would drop them.
        if (before.length > 0) await writePlain(before);
        else res.flushHeaders();
        await new Promise<void>((resolve) => setImmediate(resolve));
        cutAt = Infinity;
        if (await cut(exchange)) return false;
        rest = rest.subarray(before.length);
      }
      if (rest.length > 0 && !signal.aborted) await writePlain(rest);
      return !signal.aborted;
    },
    end: () => void res.end(),
  };
}

async function writeContent(exchange: Exchange, content: Content, start: number, end: number): Promise<void> {
  const writer = createBodyWriter(exchange, start);
  const rate = findFault(exchange.faults, 'rate')?.bytesPerSecond ?? Infinity;
  const step = Math.max(1, Math.min(CHUNK_BYTES, Math.ceil(rate / PACED_STEPS_PER_SECOND)));
  for (let at = start; at < end; at += step) {
    if (!(await writer.write(content.slice(at, Math.min(end, at + step))))) return;
  }
  writer.end();
}

function bodyHeaders({ faults }: Exchange, reply: Reply, { start, end }: { start: number; end: number }, size: number | null): OutgoingHttpHeaders {
  const headers: OutgoingHttpHeaders = { ...reply.headers, ...(reply.ranges ? { 'accept-ranges': 'bytes' } : {}) };
  if (!findFault(faults, 'short')?.noLength && reply.status !== 304) headers['content-length'] = end - start;
  if (size === null) return headers;
  const { shiftBytes = 0, total = size } = findFault(faults, 'wrong_range') ?? {};
  return { ...headers, 'content-range': `bytes ${start + shiftBytes}-${end - 1 + shiftBytes}/${total}` };
}

export async function send(exchange: Exchange, reply: Reply): Promise<void> {
  const { res, method } = exchange;
  const content = toContent(reply.body ?? '');
  const { size } = content;
  const part = method === 'GET' ? requestedPart(exchange, reply, size) : null;
  if (part === 'unsatisfiable') {
    writeHead(exchange, 416, { 'content-range': `bytes */${size}`, 'content-length': 0 });
    res.end();
    return;
  }
  const span = part ?? { start: 0, end: size };
  writeHead(exchange, part ? 206 : (reply.status ?? 200), bodyHeaders(exchange, reply, span, part ? size : null));
  if (method === 'HEAD') res.end();
  else await writeContent(exchange, content, span.start, span.end);
}

export async function sendJson(exchange: Exchange, value: unknown, { status = 200, headers = {} }: Omit<Reply, 'body'> = {}): Promise<void> {
  await send(exchange, { status, headers: { 'content-type': 'application/json; charset=utf-8', ...headers }, body: JSON.stringify(value) });
}

export async function readBody({ req }: Pick<Exchange, 'req'>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
