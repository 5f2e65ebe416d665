/** A web server with an index of models, as `examples/plugins/index-source.ts` reads it. */
import { createHash } from 'node:crypto';
import { Faults } from './hub/faults.ts';
import { type Exchange, startHttpDouble } from './hub/http-double.ts';
import { RequestLog } from './hub/log.ts';

export type IndexedModel = { name: string; files: readonly { path: string; content: Buffer }[] };

export type IndexServer = { readonly indexUrl: string; readonly faults: Faults; close(): Promise<void> };

export async function startIndexServer(models: readonly IndexedModel[]): Promise<IndexServer> {
  const faults = new Faults();
  const files = new Map(models.flatMap(({ name, files: own }) => own.map(({ path, content }): [string, Buffer] => [`/files/${name}/${path}`, content])));
  const index = models.map(({ name, files: own }) => ({
    name,
    files: own.map(({ path, content }) => ({ path, sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex'), url: `files/${name}/${path}` })),
  }));
  const handle = ({ path, req, res }: Exchange): void => {
    const content = path === '/index.json' ? Buffer.from(JSON.stringify({ models: index })) : files.get(path);
    if (!content) {
      res.writeHead(404).end();
      return;
    }
    const [, first, last = ''] = /^bytes=(\d+)-(\d*)$/.exec(req.headers.range ?? '') ?? [];
    if (first === undefined) {
      res.writeHead(200, { 'content-length': content.length }).end(content);
      return;
    }
    const end = last === '' ? content.length - 1 : Math.min(Number(last), content.length - 1);
    const part = content.subarray(Number(first), end + 1);
    res.writeHead(206, { 'content-length': part.length, 'content-range': `bytes ${first}-${end}/${content.length}` }).end(part);
  };
  const server = await startHttpDouble({ name: 'index', log: new RequestLog(), faults, handle });
  return { indexUrl: `http://127.0.0.1:${server.port}/index.json`, faults, close: () => server.close() };
}
