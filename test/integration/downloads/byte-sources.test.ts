import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { FileLocation } from '../../../src/domains/catalog/source.ts';
import type { ByteSource } from '../../../src/domains/downloads/transfer/byte-source.ts';
import { createByteSource } from '../../../src/domains/downloads/transfer/choose-byte-source.ts';
import { TransferFault } from '../../../src/domains/downloads/transfer/faults.ts';
import { createUndiciByteSource } from '../../../src/domains/downloads/transfer/undici-byte-source.ts';
import { sourceOptions } from '../../support/downloads/engine.ts';
import { never } from '../../support/downloads/room.ts';
import { type Certificate, makeCertificate, type Script, type ScriptedServer, startScriptedServer } from '../../support/downloads/scripted-server.ts';
import { eventually } from '../../support/eventually.ts';

const file = Buffer.from('0123456789abcdefghij');
const certificate = makeCertificate();

let server: ScriptedServer | undefined;
let source: ByteSource | undefined;

afterEach(async () => {
  await source?.close();
  await server?.close();
  server = source = undefined;
});

/** What a storage says to the range that the request asks for. */
function right(text: string, { status = '206 Partial Content', extra = '', body }: { status?: string; extra?: string; body?: string } = {}): string {
  const [, first = '0', last = '0'] = /range: bytes=(\d+)-(\d+)/i.exec(text) ?? [];
  const bytes = body ?? file.subarray(Number(first), Number(last) + 1).toString();
  return `HTTP/1.1 ${status}\r\nContent-Length: ${Number(last) - Number(first) + 1}\r\nContent-Range: bytes ${first}-${last}/${file.length}\r\n${extra}\r\n${bytes}`;
}

const kinds = [
  ['that chooses', createByteSource],
  ['by undici', createUndiciByteSource],
] as const;

describe.each(kinds)('a byte source %s', (_name, create) => {
  async function serve(script: Script, tls?: Certificate): Promise<void> {
    [server, source] = [await startScriptedServer(script, tls), create(sourceOptions)];
  }

  async function read(range: { start?: number; end?: number; location?: Partial<FileLocation> } = {}, signal: AbortSignal = never): Promise<string> {
    const { start = 4, end = 12, location = {} } = range;
    const whole: FileLocation = { url: `http://127.0.0.1:${server!.port}/blob?sig=a%2Fb`, headers: {}, etag: null, sizeBytes: null, revision: null, expiresAtMs: null, allowPrivate: true, ...location };
    const { pieces } = await source!.open({ location: whole, start, end, totalBytes: file.length }, signal);
    let text = '';
    for await (const piece of pieces) text += Buffer.from(piece).toString('latin1');
    return text;
  }

  const outcome = async (...given: Parameters<typeof read>): Promise<unknown> =>
    await read(...given).then(
      (text) => text,
      (error: unknown) => (error instanceof TransferFault ? { kind: error.kind, waitMs: error.waitMs } : error),
    );

  it('gives just the bytes that were asked for, and keeps the connection for the next ones', async () => {
    await serve(({ text, socket }) => void socket.write(right(text)));
    expect(await read()).toBe('456789ab');
    expect(await read({ start: 0, end: 4 })).toBe('0123');
    // Undici hands a connection on a turn of the loop later than its last byte.
    expect(server?.connections).toBeLessThanOrEqual(create === createByteSource ? 1 : 2);
    expect(server?.requests[0]?.toLowerCase()).toContain('get /blob?sig=a%2fb http/1.1\r\n');
    expect(server?.requests[0]?.toLowerCase()).toContain(`host: 127.0.0.1:${server?.port}`);
    expect(server?.requests[0]?.toLowerCase()).toContain('accept-encoding: identity');
  });

  it('reads an answer that comes byte by byte', async () => {
    await serve(({ text, socket }) => {
      const bytes = right(text);
      let at = 0;
      const step = (): void => {
        if (at < bytes.length) socket.write(bytes.slice(at, (at += 1)), () => setImmediate(step));
      };
      step();
    });
    expect(await read()).toBe('456789ab');
  });

  it('asks on a new connection when the one that was kept has been given up', async () => {
    await serve(({ text, socket, nth }) => nth === 2 ? socket.destroy() : socket.write(right(text)));
    expect(await read()).toBe('456789ab');
    const second = await outcome();
    // Undici leaves that to the transfer, which asks again.
    expect(['456789ab', { kind: 'connection', waitMs: null }]).toContainEqual(second);
    expect(await read()).toBe('456789ab');
  });

  it('does not use a connection again that the server says it will close', async () => {
    await serve(({ text, socket }) => void socket.write(right(text, { extra: 'Connection: close\r\n' })));
    await read();
    await read();
    expect(server?.connections).toBe(2);
  });

  it('reads what comes in chunks', async () => {
    await serve(({ text, socket }) => void socket.write(right(text, { body: '8\r\n456789ab\r\n0\r\n\r\n', extra: 'Transfer-Encoding: chunked\r\n' }).replace(/Content-Length.*\r\n/, '')));
    expect(await read()).toBe('456789ab');
  });

  it('reads what comes after an early hint, and under HTTP/1.0', async () => {
    await serve(({ text, socket, nth }) => void socket.end(nth % 2 === 1 ? `HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n${right(text)}` : right(text).replace('HTTP/1.1', 'HTTP/1.0')));
    expect(await read()).toBe('456789ab');
    expect(await read()).toBe('456789ab');
  });

  it.each<[string, (text: string) => string, object]>([
    ['another range', (text) => right(text).replace('bytes 4-', 'bytes 5-'), { kind: 'bad_answer' }],
    ['a range of a file of another size', (text) => right(text).replace('/20', '/21'), { kind: 'changed' }],
    ['no range at all', (text) => right(text).replace(/Content-Range.*\r\n/, ''), { kind: 'bad_answer' }],
    ['the whole file', () => `HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n${file.toString()}`, { kind: 'range_ignored' }],
    ['a whole file of another size', () => 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc', { kind: 'changed' }],
    ['an encoded body', (text) => right(text, { extra: 'Content-Encoding: gzip\r\n' }), { kind: 'bad_answer' }],
    ['a redirect', () => 'HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n', { kind: 'expired' }],
    ['403', () => 'HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n', { kind: 'expired' }],
    ['404', () => 'HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n', { kind: 'missing' }],
    ['416', () => 'HTTP/1.1 416 Range Not Satisfiable\r\nContent-Range: bytes */2\r\nContent-Length: 0\r\n\r\n', { kind: 'changed' }],
    ['429 with Retry-After', () => 'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n', { kind: 'throttled', waitMs: 7000 }],
    ['429 with RateLimit', () => 'HTTP/1.1 429 Too Many Requests\r\nRateLimit: "api";r=0;t=55\r\nContent-Length: 0\r\n\r\n', { kind: 'throttled', waitMs: 56_000 }],
    ['a refusal in chunks, without asking again', () => 'HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', { kind: 'expired' }],
    ['503', () => 'HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n', { kind: 'throttled', waitMs: null }],
    ['500 with Retry-After', () => 'HTTP/1.1 500 Oops\r\nRetry-After: 3\r\nContent-Length: 0\r\n\r\n', { kind: 'bad_answer', waitMs: 3000 }],
    ['two ranges at once', (text) => right(text, { extra: 'Content-Range: bytes 0-7/20\r\n' }), { kind: 'bad_answer' }],
    ['no HTTP', () => 'SSH-2.0-OpenSSH_9.2\r\n\r\n', { kind: 'connection' }],
    ['an endless head', () => `HTTP/1.1 206 Partial Content\r\n${'a: b\r\n'.repeat(20_000)}`, { kind: 'connection' }],
  ])('refuses %s', async (name, answer, fault) => {
    await serve(({ text, socket }) => void socket.write(answer(text)));
    expect(await outcome()).toMatchObject(fault);
    // What is no HTTP is shown to the other reader as well.
    if (!/^no HTTP|head$|two ranges/.test(name)) expect(server?.requests).toHaveLength(1);
  });

  it.each<[string, (text: string) => string]>([
    ['within its head', () => 'HTTP/1.1 206 Part'],
    ['before its head', () => ''],
    ['within its body', (text) => right(text).slice(0, -3)],
  ])('notices an answer that ends early: %s', async (_case, answer) => {
    await serve(({ text, socket }) => void socket.end(answer(text)));
    expect(await outcome()).toMatchObject({ kind: 'connection' });
  });

  it('never gives out a byte that was not asked for', async () => {
    await serve(({ text, socket }) => void socket.write(`${right(text)}and more`));
    // Bytes behind the end belong to nobody; what was asked for is whole either way.
    expect(['456789ab', { kind: 'bad_answer', waitMs: null }, { kind: 'connection', waitMs: null }]).toContainEqual(await outcome());
    expect(['0123', { kind: 'bad_answer', waitMs: null }, { kind: 'connection', waitMs: null }]).toContainEqual(await outcome({ start: 0, end: 4 }));
  });

  it('closes the connection when it is stopped, and says why', async () => {
    const stop = new AbortController();
    await serve(({ text, socket }) => {
      socket.write(right(text).slice(0, -3));
      setImmediate(() => stop.abort(new Error('paused')));
    });
    await expect(read({}, stop.signal)).rejects.toThrow('paused');
    await eventually('the connection is gone', () => server?.open === 0);
  });

  it('closes the connection when nobody reads on', async () => {
    await serve(({ text, socket }) => void socket.write(right(text).slice(0, -3)));
    const location: FileLocation = { url: `http://127.0.0.1:${server!.port}/`, headers: {}, etag: null, sizeBytes: null, revision: null, expiresAtMs: null, allowPrivate: true };
    const { pieces } = await source!.open({ location, start: 4, end: 12, totalBytes: file.length }, never);
    for await (const piece of pieces) if (piece.length > 0) break;
    await eventually('the connection is gone', () => server?.open === 0);
  });

  it.each(['127.0.0.1', 'localhost', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '0'])('does not knock at a private address, however it is spelt: %s', async (host) => {
    await serve(({ text, socket }) => void socket.write(right(text)));
    expect(await outcome({ location: { url: `http://${host}:${server!.port}/`, allowPrivate: false } })).toMatchObject({ kind: 'connection' });
    expect(server?.connections).toBe(0);
  });

  it('does not take a connection to a private address that was kept for one who may not have it', async () => {
    await serve(({ text, socket }) => void socket.write(right(text)));
    expect(await read()).toBe('456789ab');
    expect(await outcome({ location: { allowPrivate: false } })).toMatchObject({ kind: 'connection' });
    expect(server?.requests).toHaveLength(1);
  });

  it('lets no header of an address become two', async () => {
    await serve(({ text, socket }) => void socket.write(right(text)));
    expect(await outcome({ location: { headers: { 'x-a': 'b\r\nx-c: d' } } })).toMatchObject({ kind: 'connection' });
    expect(server?.requests).toHaveLength(0);
  });

  // Without the openssl command there is no certificate to serve with.
  (certificate ? it : it.skip)('reads by TLS from a server whose certificate is known, and from no other', async () => {
    await serve(({ text, socket }) => void socket.write(right(text)), certificate!);
    const location = { url: `https://localhost:${server!.port}/blob` };
    expect(await outcome({ location })).toMatchObject({ kind: 'connection' });
    expect(server?.requests).toHaveLength(0);
    const usual = getCACertificates('default');
    setDefaultCACertificates([...usual, certificate!.cert]);
    try {
      expect(await read({ location })).toBe('456789ab');
      expect(await outcome({ location: { url: `https://127.0.0.1:${server!.port}/blob` } })).toMatchObject({ kind: 'connection' });
    } finally {
      setDefaultCACertificates(usual);
    }
  });
});
