import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { restRoutes } from '../../../src/adapters/rest/routes/table.ts';
import { startRestBench, type RestBench } from '../../support/rest-bench.ts';

let bench: RestBench;
let retired: RestBench;

beforeAll(async () => {
  bench = await startRestBench();
  retired = await startRestBench({
    versions: { '0': { deprecatedAt: new Date('2026-01-01T00:00:00Z'), sunsetAt: new Date('2026-12-31T23:59:59Z') }, '1': { deprecatedAt: null, sunsetAt: null } },
  });
});
afterAll(async () => {
  await bench.close();
  await retired.close();
});

type Answer = { status: number; code: unknown; headers: Headers };

async function ask(path: string, init: RequestInit = {}, key: string | null = bench.key): Promise<Answer> {
  const headers = new Headers(init.headers);
  if (key !== null) headers.set('authorization', `Bearer ${key}`);
  const response = await fetch(`${bench.url}${path}`, { ...init, headers });
  const body = (await response.json()) as { error?: { code: string } };
  return { status: response.status, code: body.error?.code, headers: response.headers };
}

type RawAnswer = { status: number; code: unknown; headers: NodeJS.Dict<string | string[]> };

/** A request that fetch would not send: any Host, any Origin, any body. */
async function raw(path: string, headers: Record<string, string>, send: { method?: string; chunks?: readonly Buffer[] } = {}): Promise<RawAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  const req = httpRequest({ host: '127.0.0.1', port: bench.port, path, method: send.method ?? 'GET', headers }, (res) => {
    text(res).then((body) => resolve({ status: res.statusCode ?? 0, code: (JSON.parse(body || '{}') as { error?: { code: string } }).error?.code, headers: res.headers }), reject);
  });
  req.on('error', reject);
  for (const chunk of send.chunks ?? []) req.write(chunk);
  req.end();
  return await promise;
}

const everyPath = [
  ...restRoutes.map(({ method, path }) => [method, `/api${path.replaceAll(/\{[^}]+\}/g, 'x')}`] as const),
  ['GET', '/api/openapi.json'],
  ['GET', '/api/docs'],
  ['GET', '/api'],
  ['GET', '/api/nothing/here'],
  ['GET', '/api/v9/models/search'],
  ['PATCH', '/api/v1/models/search'],
  ['POST', '/api/downloads/start'],
] as const;

describe('the key', () => {
  it.each(everyPath)('comes before everything else: %s %s', async (method, path) => {
    const wrong = { method, headers: { 'content-type': 'text/plain' }, ...(method === 'GET' ? {} : { body: '{' }) };
    for (const key of [null, 'llmm_wrong', 'x'.repeat(5000)]) {
      const answer = await ask(`${path}?limit=-1`, wrong, key);
      expect([answer.status, answer.code]).toEqual([401, 'UNAUTHENTICATED']);
      expect(answer.headers.get('www-authenticate')).toBe('Bearer');
      expect(answer.headers.get('api-version')).toBe('1');
    }
  });

  it.each(['key', 'api_key', 'token', 'access_token', 'X'])('in a URL counts for nothing and is refused: %s', async (name) => {
    expect(await ask(`/api/models/categories?${name}=${bench.key}`, {}, null)).toMatchObject({ status: 401 });
    expect(await ask(`/api/models/categories?${name}=${bench.key}`)).toMatchObject({ status: 400, code: 'VALIDATION_FAILED' });
  });

  it('is looked at in either header', async () => {
    expect(await ask('/api/models/categories', { headers: { 'x-api-key': bench.key } }, null)).toMatchObject({ status: 200 });
    expect(await ask('/api/models/categories', { headers: { 'x-api-key': 'llmm_wrong' } }, null)).toMatchObject({ status: 401 });
  });

  it('allows no more than its role', async () => {
    const body = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"model_id":"a/b"}' };
    expect(await ask('/api/downloads/start', body, bench.world.keyOf('VIEWER'))).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect(await ask('/api/downloads/list', {}, bench.world.keyOf('VIEWER'))).toMatchObject({ status: 200 });
  });
});

describe('then', () => {
  it('the version, before the route', async () => {
    expect(await ask('/api/v2/nothing')).toMatchObject({ status: 404, code: 'UNKNOWN_API_VERSION' });
    expect((await ask('/api/v2/nothing')).headers.get('api-version')).toBe('1');
  });

  it('the route, then the method, then the input', async () => {
    expect(await ask('/api/nothing?limit=x', { method: 'POST', body: '{' })).toMatchObject({ status: 404, code: 'ROUTE_NOT_FOUND' });
    const refused = await ask('/api/models/search?limit=x', { method: 'POST', body: '{' });
    expect(refused).toMatchObject({ status: 405, code: 'METHOD_NOT_ALLOWED' });
    expect(refused.headers.get('allow')).toBe('GET');
    expect(await ask('/api/models/search?limit=x')).toMatchObject({ status: 400, code: 'VALIDATION_FAILED' });
  });

  it('by HEAD what GET would answer, without the body', async () => {
    const headers = { authorization: `Bearer ${bench.key}` };
    for (const [path, status] of [['/api/models/categories', 200], ['/api/v1/downloads/list?limit=x', 400], ['/api/downloads/start', 405], ['/api/docs', 200]] as const) {
      const response = await fetch(`${bench.url}${path}`, { method: 'HEAD', headers });
      expect([path, response.status, response.headers.get('api-version'), await response.text()]).toEqual([path, status, '1', '']);
      expect(Number(response.headers.get('content-length'))).toBeGreaterThan(0);
    }
    const stream = await fetch(`${bench.url}/api/deployments/x/logs?follow=true`, { method: 'HEAD', headers });
    expect([404, 405]).toContain(stream.status);
  });

  it('a body of another type, or one that is encoded, is not read', async () => {
    const post = (headers: Record<string, string>, body: string) => ask('/api/downloads/start', { method: 'POST', headers, body });
    expect(await post({ 'content-type': 'text/plain' }, '{"model_id":"a/b"}')).toMatchObject({ status: 415, code: 'UNSUPPORTED_MEDIA_TYPE' });
    expect(await post({ 'content-type': 'application/x-www-form-urlencoded' }, 'model_id=a/b')).toMatchObject({ status: 415 });
    expect(await post({ 'content-type': 'application/json', 'content-encoding': 'gzip' }, 'x')).toMatchObject({ status: 415 });
    expect(await post({ 'content-type': 'application/json' }, '{"model_id":')).toMatchObject({ status: 400, code: 'VALIDATION_FAILED' });
  });
});

describe('a version that is being retired', () => {
  it('says since when and until when on every answer', async () => {
    for (const [path, status] of [['/api/v0/models/categories', 200], ['/api/v0/nothing', 404], ['/api/v0/models/search?limit=0', 400]] as const) {
      const response = await fetch(`${retired.url}${path}`, { headers: { authorization: `Bearer ${retired.key}` } });
      await response.arrayBuffer();
      expect([response.status, response.headers.get('api-version'), response.headers.get('deprecation'), response.headers.get('sunset')]).toEqual([status, '0', '@1767225600', 'Thu, 31 Dec 2026 23:59:59 GMT']);
    }
    const current = await fetch(`${retired.url}/api/v1/models/categories`, { headers: { authorization: `Bearer ${retired.key}` } });
    await current.arrayBuffer();
    expect([current.headers.get('api-version'), current.headers.get('deprecation')]).toEqual(['1', null]);
  });
});

describe('the request id', () => {
  it("is the caller's own when it is a valid one", async () => {
    const idOf = async (given: string) => (await ask('/api/models/categories', { headers: { 'x-request-id': given } })).headers.get('x-request-id');
    for (const good of ['my-request.0001', 'r-1', 'x'.repeat(128)]) expect(await idOf(good)).toBe(good);
    for (const bad of ['has space in it', '<script>alert(1)</script>', 'x'.repeat(129)]) expect(await idOf(bad)).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('what is no request', () => {
  async function answerTo(bytes: string): Promise<{ head: string; body: unknown }> {
    const socket = connect(bench.port, '127.0.0.1');
    socket.end(bytes);
    const [head = '', body = ''] = (await text(socket)).split('\r\n\r\n');
    return { head, body: JSON.parse(body) };
  }

  it.each([
    ['bytes that are no HTTP', 'GARBAGE\r\n\r\n'],
    ['headers over 16 KiB', `GET /api HTTP/1.1\r\nhost: 127.0.0.1\r\nx: ${'a'.repeat(20_000)}\r\n\r\n`],
    ['a header without a name', 'GET /api HTTP/1.1\r\nhost: 127.0.0.1\r\n: x\r\n\r\n'],
  ])('is answered in the shape of errors, with a request id: %s', async (_name, bytes) => {
    const { head, body } = await answerTo(bytes);
    expect(head).toMatch(/^HTTP\/1\.1 400 [\s\S]*\r\nx-request-id: [0-9a-f-]{36}\r\n/);
    expect(body).toMatchObject({ error: { code: 'VALIDATION_FAILED', message: expect.stringMatching(/./) } });
  });
});

describe('a request from elsewhere', () => {
  it('is refused by its Host or Origin, with a good key too', async () => {
    const authorization = `Bearer ${bench.key}`;
    expect(await raw('/api/models/categories', { authorization, host: 'evil.example' })).toMatchObject({ status: 403, code: 'ORIGIN_NOT_ALLOWED' });
    expect(await raw('/api/models/categories', { authorization, origin: 'http://evil.example' })).toMatchObject({ status: 403, code: 'ORIGIN_NOT_ALLOWED' });
    expect(await raw('/api/models/categories', { authorization, origin: 'http://evil.example', 'access-control-request-method': 'GET' }, { method: 'OPTIONS' })).toMatchObject({ status: 403 });
  });

  it('is told the version all the same', async () => {
    const headers = { 'api-version': '1' };
    expect(await raw('/api/models/categories', { host: 'evil.example' })).toMatchObject({ status: 403, headers });
    expect(await raw('/api/v1/nothing', { origin: 'http://evil.example' })).toMatchObject({ status: 403, headers });
  });

  it('of an allowed page may be made, after its preflight', async () => {
    const origin = 'https://console.example';
    const preflight = await raw('/api/downloads/start', { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' }, { method: 'OPTIONS' });
    expect(preflight).toMatchObject({ status: 204, headers: { 'access-control-allow-origin': origin, vary: 'Origin' } });
    expect(preflight.headers['access-control-allow-credentials']).toBeUndefined();
    const answer = await raw('/api/models/categories', { origin, authorization: `Bearer ${bench.key}` });
    expect(answer).toMatchObject({ status: 200, headers: { 'access-control-allow-origin': origin } });
  });

  it('cannot name another host in its target', async () => {
    expect(await raw('http://evil.example/api/models/categories', { authorization: `Bearer ${bench.key}` })).toMatchObject({ status: 400, code: 'VALIDATION_FAILED' });
  });

  it('that only offers another protocol is answered in this one', async () => {
    expect(await raw('/api/models/categories', { authorization: `Bearer ${bench.key}`, connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c', 'http2-settings': 'AAMAAABkAAQCAAAAAAIAAAAA' })).toMatchObject({ status: 200 });
  });
});

describe('a body that is too large', () => {
  const chunk = Buffer.alloc(256 * 1024, 0x20);
  const headers = { 'content-type': 'application/json' };

  it.each([
    ['declared', { 'content-length': String(40 * chunk.byteLength) }],
    ['sent in chunks of unknown number', { 'transfer-encoding': 'chunked' }],
  ])('is refused so that the client gets to read it: %s', async (_name, framing) => {
    const chunks = Array.from({ length: 40 }, () => chunk);
    const answer = await raw('/api/downloads/start', { ...headers, ...framing, authorization: `Bearer ${bench.key}` }, { method: 'POST', chunks });
    expect(answer).toMatchObject({ status: 413, code: 'PAYLOAD_TOO_LARGE', headers: { connection: 'close', 'api-version': '1' } });
  });

  it('is not read for somebody without a key', async () => {
    const answer = await raw('/api/downloads/start', { ...headers, 'transfer-encoding': 'chunked' }, { method: 'POST', chunks: Array.from({ length: 40 }, () => chunk) });
    expect(answer).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  });

  it('reaches fetch as an answer, too', async () => {
    const answer = await ask('/api/downloads/start', { method: 'POST', headers, body: JSON.stringify({ model_id: 'x'.repeat(5_000_000) }) });
    expect(answer).toMatchObject({ status: 413, code: 'PAYLOAD_TOO_LARGE' });
  });

  it('that never ends is cut', async () => {
    const socket = connect(bench.port, '127.0.0.1');
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    let answer = '';
    socket.on('data', (data: Buffer) => (answer += data.toString('latin1')));
    socket.on('error', () => {});
    socket.write(`POST /api/downloads/start HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${bench.key}\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n`);
    const piece = Buffer.concat([Buffer.from(`${chunk.byteLength.toString(16)}\r\n`), chunk, Buffer.from('\r\n')]);
    const pump = (): void => {
      while (socket.writable && socket.write(piece));
    };
    socket.on('drain', pump);
    pump();
    await closed;
    expect(answer === '' || answer.startsWith('HTTP/1.1 413')).toBe(true);
    expect((await bench.client.call('GET', '/api/models/categories')).status).toBe(200);
  });
});

describe('the documentation', () => {
  it('shows a page to a browser, which asks for the key, and an error to a program', async () => {
    const page = await fetch(`${bench.url}/api/docs`, { headers: { accept: 'text/html,*/*' } });
    expect([page.status, page.headers.get('content-type'), (await page.text()).includes('swagger-ui')]).toEqual([401, 'text/html; charset=utf-8', true]);
    const known = await fetch(`${bench.url}/api/v1/docs`, { headers: { authorization: `Bearer ${bench.key}` } });
    expect([known.status, known.headers.get('api-version'), (await known.text()).includes('swagger-ui')]).toEqual([200, '1', true]);
    expect(await ask('/api/docs', {}, null)).toMatchObject({ status: 401, code: 'UNAUTHENTICATED' });
  });

  it('serves the files of the page without a key, and the document only with one', async () => {
    const script = await fetch(`${bench.url}/assets/docs/swagger-ui-bundle.js`);
    expect([script.status, (await script.arrayBuffer()).byteLength > 100_000]).toEqual([200, true]);
    expect((await bench.client.call('GET', '/api/openapi.json')).body).toMatchObject({ openapi: '3.1.1', info: { version: '0.0.0' } });
  });
});
