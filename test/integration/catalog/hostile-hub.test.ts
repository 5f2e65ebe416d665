import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import type { ModelSource } from '../../../src/domains/catalog/source.ts';
import { createHuggingFaceSource } from '../../../src/domains/catalog/sources/huggingface/huggingface.source.ts';
import { systemClock } from '../../../src/infrastructure/system-clock.ts';
import { openHttp } from '../../support/catalog/fixtures.ts';
import { silentLogger } from '../../support/silent-logger.ts';

const live = (): AbortSignal => new AbortController().signal;
const token = 'hf_secret';

describe('a Hub that is not to be trusted', () => {
  const servers: Server[] = [];
  const closers: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const server of servers.splice(0)) server.close().closeAllConnections();
    await Promise.all(closers.splice(0).map((close) => close()));
  });

  async function serve(listener: RequestListener): Promise<{ port: number; requests: IncomingMessage[] }> {
    const requests: IncomingMessage[] = [];
    const server = createServer((req, res) => {
      requests.push(req);
      listener(req, res);
    });
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return { port: (server.address() as AddressInfo).port, requests };
  }

  function sourceAt(port: number): ModelSource {
    const client = openHttp();
    closers.push(() => client.close());
    return createHuggingFaceSource({ http: client.request, clock: systemClock, logger: silentLogger, endpoint: `http://127.0.0.1:${port}`, token });
  }

  const ref = { source: 'huggingface', name: 'a/b', revision: null };
  const file = { ref, revision: 'c'.repeat(40), path: 'x.gguf', sha256: null };

  it('ends a circle of redirects', async () => {
    const { port, requests } = await serve((req, res) => res.writeHead(302, { location: req.url }).end());
    await expect(sourceAt(port).locate(file, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    await expect(sourceAt(port).describe(ref, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    expect(requests.length).toBeLessThan(20);
  });

  it.each(['ftp://127.0.0.1/x', 'file:///etc/passwd', 'http://user:secret@localhost/x', 'http://'])('refuses to go to %s', async (location) => {
    const { port } = await serve((_req, res) => res.writeHead(302, { location }).end());
    await expect(sourceAt(port).locate(file, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
  });

  it('leaves its token at home when the answers to questions come from elsewhere', async () => {
    const canary = await serve((_req, res) => res.end('{}'));
    const { port } = await serve((_req, res) => res.writeHead(302, { location: `http://localhost:${canary.port}/api/models` }).end());
    await expect(sourceAt(port).describe(ref, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    await expect(sourceAt(port).search({ query: '', sort: 'relevance', order: 'desc', limit: 5 }, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
    expect(canary.requests).toEqual([]);
  });

  it('goes on over a mirror to the storage behind it, without the token', async () => {
    const storage = await serve((_req, res) => res.writeHead(206, { 'content-range': 'bytes 0-0/7' }).end('x'));
    const { port } = await serve((_req, res) => {
      const headers = { 'x-linked-size': '7', 'x-linked-etag': '"abc"', 'x-repo-commit': 'd'.repeat(40) };
      res.writeHead(302, { ...headers, location: `http://localhost:${storage.port}/plain` }).end();
    });
    const location = await sourceAt(port).locate(file, live());
    expect(location).toMatchObject({ url: `http://localhost:${storage.port}/plain`, headers: {}, etag: 'abc', sizeBytes: 7, revision: 'd'.repeat(40), allowPrivate: true });
    expect(storage.requests.map(({ headers }) => headers.authorization)).toEqual([undefined]);
  });

  it('asks the configured endpoint for the next page, whatever address the link names', async () => {
    const canary = await serve((_req, res) => res.end('[]'));
    const { port, requests } = await serve((req, res) => {
      const isFirst = !(req.url ?? '').includes('cursor=');
      const link = `<http://localhost:${canary.port}/api/models?cursor=abc>; rel="next"`;
      res.writeHead(200, isFirst ? { link } : {}).end(JSON.stringify([{ id: isFirst ? 'a/one' : 'a/two' }]));
    });
    const source = sourceAt(port);
    const search = { query: '', sort: 'relevance', order: 'desc', limit: 1 } as const;
    const first = await source.search(search, live());
    const second = await source.search({ ...search, cursor: first.nextCursor ?? '' }, live());
    expect([...first.items, ...second.items].map(({ id }) => id)).toEqual(['huggingface:a/one', 'huggingface:a/two']);
    expect(requests).toHaveLength(2);
    expect(canary.requests).toEqual([]);
  });

  it('takes no more of an endless answer than it may hold', async () => {
    const chunk = Buffer.alloc(1024 * 1024, 0x20);
    const { port } = await serve((_req, res) => {
      const pump = (): void => {
        while (!res.destroyed && res.write(chunk));
        if (!res.destroyed) res.once('drain', pump);
      };
      pump();
    });
    await expect(sourceAt(port).search({ query: '', sort: 'relevance', order: 'desc', limit: 1 }, live())).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE', message: 'Hugging Face sent more than is read.' });
  });

  it.each(['null', '{}', '[', '[1, null, {"id": "../../x"}, {"id": 5}]', '<html>'])('makes nothing of a listing that reads %s', async (body) => {
    const { port } = await serve((_req, res) => res.end(body));
    const answer = sourceAt(port).search({ query: '', sort: 'relevance', order: 'desc', limit: 5 }, live());
    if (body.startsWith('[1')) expect((await answer).items).toEqual([]);
    else await expect(answer).rejects.toMatchObject({ code: 'SOURCE_UNAVAILABLE' });
  });
});
