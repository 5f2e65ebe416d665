/**
 * A plain, fast file server for the benchmark, a process of its own: one block of noise in memory, repeated up to any
 * size, so that no disk and no stream machinery hold the clients back. `/<bytes>` as fast as it goes;
 * `/limited/<bytes>` with a limit for each connection and a delay to the first byte, as a CDN has them.
 * Says its port as its first line.
 */
import { createServer, type Socket } from 'node:net';
import { randomFillSync } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

const blockBytes = 32 * 1024 * 1024;
const sliceBytes = 1024 * 1024;
const limitedSliceBytes = 256 * 1024;
const [bytesPerSecond = 20e6, firstByteMs = 40] = process.argv.slice(2).map(Number);
const block = randomFillSync(Buffer.allocUnsafe(blockBytes));

type Wanted = { isHead: boolean; isLimited: boolean; size: number; start: number; end: number; isRange: boolean };

function parse(head: string): Wanted | null {
  const [, method = '', limited, size = ''] = /^(GET|HEAD) (\/limited)?\/(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
  if (method === '') return null;
  const [, first = '0', last = ''] = /\r\nrange: *bytes=(\d+)-(\d*)/i.exec(head) ?? [];
  const total = Number(size);
  const end = last === '' ? total : Math.min(total, Number(last) + 1);
  return { isHead: method === 'HEAD', isLimited: limited !== undefined, size: total, start: Number(first), end, isRange: /\r\nrange:/i.test(head) };
}

function headOf({ size, start, end, isRange }: Wanted): string {
  const range = isRange ? `Content-Range: bytes ${start}-${end - 1}/${size}\r\n` : '';
  return `HTTP/1.1 ${isRange ? '206 Partial Content' : '200 OK'}\r\nContent-Length: ${end - start}\r\n${range}Accept-Ranges: bytes\r\nETag: "bench"\r\n\r\n`;
}

async function send(socket: Socket, bytes: Uint8Array): Promise<void> {
  if (socket.write(bytes) || socket.destroyed) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
  });
}

async function answer(socket: Socket, wanted: Wanted): Promise<void> {
  if (wanted.isLimited) await sleep(firstByteMs);
  socket.write(headOf(wanted));
  if (wanted.isHead) return;
  const startedAt = performance.now();
  const most = wanted.isLimited ? limitedSliceBytes : sliceBytes;
  for (let at = wanted.start; at < wanted.end && !socket.destroyed; ) {
    const within = at % blockBytes;
    const length = Math.min(most, blockBytes - within, wanted.end - at);
    await send(socket, block.subarray(within, within + length));
    at += length;
    if (!wanted.isLimited) continue;
    const aheadMs = ((at - wanted.start) / bytesPerSecond) * 1000 - (performance.now() - startedAt);
    if (aheadMs > 0) await sleep(aheadMs);
  }
}

const server = createServer((socket) => {
  let received = '';
  let busy = Promise.resolve();
  socket.setNoDelay(true).on('error', () => socket.destroy());
  socket.on('data', (piece) => {
    received += piece.toString('latin1');
    for (let end = received.indexOf('\r\n\r\n'); end >= 0; end = received.indexOf('\r\n\r\n')) {
      const wanted = parse(received.slice(0, end + 2));
      received = received.slice(end + 4);
      busy = busy.then(() => (wanted ? answer(socket, wanted) : void socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n')));
    }
  });
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: (server.address() as AddressInfo).port })));
process.stdin.resume().on('end', () => process.exit(0));
