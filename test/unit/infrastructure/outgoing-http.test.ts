import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createOutgoingHttp, type OutgoingHttpClient } from '../../../src/infrastructure/http/outgoing-http.ts';

const never = new AbortController().signal;

describe('a small request to the outside', () => {
  let server: Server;
  let port: number;
  let client: OutgoingHttpClient;
  let hits = 0;

  beforeAll(async () => {
    server = createServer((req, res) => {
      hits += 1;
      if (req.url === '/hang') return;
      if (req.url === '/away') res.writeHead(302, { location: 'http://localhost:1/' }).end();
      else res.end('x'.repeat(1000));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    port = (server.address() as AddressInfo).port;
    client = createOutgoingHttp({ userAgent: 'test', timeoutMs: 300 });
  });
  afterAll(async () => {
    await client.close();
    server.closeAllConnections();
    server.close();
  });

  const get = (url: string, extra: object = {}): ReturnType<OutgoingHttpClient['request']> =>
    client.request({ method: 'GET', url, maxBytes: 10_000, allowPrivate: true, ...extra }, never);

  it.each(['127.0.0.1', 'localhost', '127.1', '0x7f.1', '2130706433', '0', '[::ffff:127.0.0.1]', '[::]'])('never reaches %s unless that was configured', async (host) => {
    const before = hits;
    await expect(get(`http://${host}:${port}/`, { allowPrivate: false })).rejects.toMatchObject({ code: 'NETWORK_FAILED' });
    expect(hits).toBe(before);
  });

  it('hands redirects to the caller instead of following them', async () => {
    expect(await get(`http://127.0.0.1:${port}/away`)).toMatchObject({ status: 302, headers: { location: 'http://localhost:1/' } });
  });

  it('fails at the byte limit, or ends there when asked to', async () => {
    await expect(get(`http://127.0.0.1:${port}/`, { maxBytes: 999 })).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
    const cut = await get(`http://127.0.0.1:${port}/`, { maxBytes: 10, overflow: 'truncate' });
    expect(cut.body).toHaveLength(10);
    expect((await get(`http://127.0.0.1:${port}/`, { maxBytes: 1000 })).body).toHaveLength(1000);
  });

  it('ends by itself when nobody answers, and tells that from a caller who left', async () => {
    await expect(get(`http://127.0.0.1:${port}/hang`)).rejects.toMatchObject({ code: 'TIMEOUT' });
    const caller = new AbortController();
    const waiting = client.request({ method: 'GET', url: `http://127.0.0.1:${port}/hang`, maxBytes: 1, allowPrivate: true }, caller.signal);
    caller.abort(new Error('left'));
    await expect(waiting).rejects.toThrow('left');
  });
});
