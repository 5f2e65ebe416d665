import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { request } from 'node:http';
import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { graphiqlTabs } from '../../../src/adapters/graphql/graphiql-tabs.ts';
import { validateDocuments } from '../../../src/adapters/graphql/create-graphql.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';

let bench: GraphqlBench;
beforeAll(async () => {
  bench = await startGraphqlBench();
});
afterAll(async () => bench.close());

type Page = { status: number; headers: Record<string, string | string[] | undefined>; body: Buffer };

/** fetch would decompress by itself. */
async function get(headers: Record<string, string>): Promise<Page> {
  const { promise, resolve, reject } = Promise.withResolvers<Page>();
  request(bench.url, { headers: { accept: 'text/html', ...headers } }, (response) => {
    const chunks: Buffer[] = [];
    response.on('data', (chunk: Buffer) => chunks.push(chunk));
    response.on('end', () => resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks) }));
  })
    .on('error', reject)
    .end();
  return await promise;
}

describe('the page for browsers', () => {
  it('comes without a key, compressed, and is not sent again when it is known', async () => {
    const brotli = await get({ 'accept-encoding': 'gzip, br' });
    expect([brotli.status, brotli.headers['content-encoding']]).toEqual([200, 'br']);
    const zipped = await get({ 'accept-encoding': 'gzip' });
    const plain = await get({ 'accept-encoding': 'identity' });
    expect(gunzipSync(zipped.body).equals(brotliDecompressSync(brotli.body))).toBe(true);
    expect(plain.body.equals(gunzipSync(zipped.body))).toBe(true);
    expect(brotli.body.byteLength).toBeLessThan(2_500_000);
    expect((await get({ 'if-none-match': String(brotli.headers['etag']) })).status).toBe(304);
  });

  it('needs nothing from elsewhere, and its policy allows its own scripts alone', async () => {
    const page = await get({ 'accept-encoding': 'gzip' });
    const html = gunzipSync(page.body).toString('utf8');
    expect([...html.matchAll(/<(?:script|link|img|iframe)\b[^>]*(?:src|href)="(?!data:|\$\{)([^"]*)"/g)].map((match) => match[1])).toEqual([]);
    const policy = String(page.headers['content-security-policy']);
    const scripts = [...html.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((match) => match[1]!);
    expect(scripts).toHaveLength(2);
    for (const script of scripts) expect(policy).toContain(createHash('sha256').update(script).digest('base64'));
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("connect-src 'self';");
    expect(policy).not.toMatch(/script-src[^;]*unsafe/);
  });

  it('opens with a tab for each step of the main job, with a place for the key', async () => {
    const html = gunzipSync((await get({ 'accept-encoding': 'gzip' })).body).toString('utf8');
    for (const name of ['SearchModels', 'DownloadProgress', 'DeploymentLogFeed', 'ChatStream', 'SystemResourcesFeed']) expect(html).toContain(name);
    // Once for each tab, and for the editor as it is first shown, which takes nothing from the tabs.
    expect(html.split('Bearer <key>')).toHaveLength(graphiqlTabs.length + 2);
    expect(html).toContain('"defaultHeaders":');
    expect(validateDocuments(bench.endpoint.graphql.schema, graphiqlTabs.flatMap((tab) => tab.documents))).toEqual([]);
  });
});
