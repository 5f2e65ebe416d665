import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from '@jest/globals';
import { seededContent, sha256Of } from '../../support/hub/content.ts';
import type { LibraryModel } from '../../support/ollama/library-pages.ts';
import type { OllamaLibrary, OllamaLibraryOptions } from '../../support/ollama/library.ts';
import { createOllamaLibrary } from '../../support/ollama/library.ts';
import type { OllamaRegistry } from '../../support/ollama/registry.ts';
import { createOllamaRegistry, MANIFEST_TYPE } from '../../support/ollama/registry.ts';

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((double) => double.close()));
});

describe('registry', () => {
  const weights = seededContent('registry', 300_000);
  const accept = { accept: MANIFEST_TYPE };

  async function start(): Promise<OllamaRegistry> {
    const registry = await createOllamaRegistry();
    open.push(registry);
    return registry;
  }

  it('gives the manifest to those who ask for its type, and its digest on HEAD only', async () => {
    const registry = await start();
    const model = registry.addModel({ name: 'tiny', tag: '135m', layers: [{ kind: 'model', content: weights }, { kind: 'template', content: '{{ .Prompt }}' }] });
    const url = `${registry.endpoint}/v2/library/tiny/manifests/135m`;
    const answer = await fetch(url, { headers: accept });
    const body = await answer.text();
    expect(createHash('sha256').update(body).digest('hex')).toBe(model.digest);
    expect(JSON.parse(body)).toMatchObject({ layers: [{ mediaType: 'application/vnd.ollama.image.model', digest: `sha256:${sha256Of(weights)}`, size: 300_000 }, { size: 13 }] });
    expect(answer.headers.get('ollama-content-digest')).toBeNull();
    expect((await fetch(url, { method: 'HEAD', headers: accept })).headers.get('ollama-content-digest')).toBe(model.digest);
    expect((await fetch(url)).status).toBe(406);
  });

  it('answers HEAD of a blob itself and sends GET to another host name that takes ranges', async () => {
    const registry = await start();
    const model = registry.addModel({ name: 'ann/tiny', layers: [{ kind: 'model', content: weights }] });
    const url = `${registry.endpoint}/v2/ann/tiny/blobs/${model.manifest.layers[0]?.digest ?? ''}`;
    const head = await fetch(url, { method: 'HEAD' });
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '300000']);
    const redirect = await fetch(url, { redirect: 'manual' });
    const location = redirect.headers.get('location') ?? '';
    expect([redirect.status, new URL(location).hostname]).toEqual([307, 'localhost']);
    const part = await fetch(location, { headers: { range: 'bytes=299990-' } });
    expect(Buffer.from(await part.arrayBuffer()).equals(weights.slice(299_990, 300_000))).toBe(true);
    registry.expireUrls();
    expect((await fetch(location)).status).toBe(403);
  });

  it('does not know what the real one does not have, and challenges for private models', async () => {
    const registry = await start();
    registry.addModel({ name: 'secret', layers: [{ kind: 'model', content: 'x' }], needsToken: true });
    for (const path of ['/v2/', '/v2/_catalog', '/v2/library/none/manifests/latest', `/v2/library/none/blobs/sha256:${'0'.repeat(64)}`]) {
      expect((await fetch(registry.endpoint + path, { headers: accept })).status).toBe(404);
    }
    const answer = await fetch(`${registry.endpoint}/v2/library/secret/manifests/latest`, { headers: accept });
    expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, expect.stringMatching(/^Bearer realm="http.+",service=".+",scope="repository:library\/secret:pull"$/)]);
  });
});

describe('library', () => {
  const model = (name: string, more: Partial<LibraryModel> = {}): LibraryModel => ({
    name, description: `About ${name} & <more>`, updatedAt: '2026-01-01', pulls: '1.2M', sizes: ['135m'],
    tags: [{ tag: 'latest', size: '271MB', digest: 'a'.repeat(64) }, { tag: '135m', size: '92MB', digest: 'b'.repeat(64) }], ...more,
  });

  async function start(options: OllamaLibraryOptions = {}): Promise<OllamaLibrary> {
    const library = await createOllamaLibrary({ models: [model('tiny'), model('tiny-vision', { capabilities: ['vision'] }), model('big')], ...options });
    open.push(library);
    return library;
  }
  const page = async ({ endpoint }: OllamaLibrary, path: string, headers: Record<string, string> = {}): Promise<string> => (await fetch(endpoint + path, { headers })).text();
  const names = (html: string): unknown[] => [...html.matchAll(/href="\/library\/([^"/:]+)"/g)].map((match) => match[1]);

  it('searches by text and capability, page by page', async () => {
    const library = await start({ pageSize: 1 });
    expect(names(await page(library, '/search?q=TINY'))).toEqual(['tiny']);
    expect(names(await page(library, '/search?q=tiny&page=2'))).toEqual(['tiny-vision']);
    expect(names(await page(library, '/search?q=tiny&page=3'))).toEqual([]);
    expect(names(await page(library, '/search?q=&c=vision'))).toEqual(['tiny-vision']);
  });

  it('keeps the links when the markers go, and nothing when the cards go', async () => {
    const library = await start();
    const marked = await page(library, '/search?q=');
    expect(marked).toContain('x-test-pull-count');
    expect(marked).toContain('About tiny &amp; &lt;more&gt;');
    library.look.markers = false;
    const plain = await page(library, '/search?q=');
    expect(plain).not.toContain('x-test-');
    expect(names(plain)).toEqual(names(marked));
    library.look.cards = false;
    expect(names(await page(library, '/search?q='))).toEqual([]);
  });

  it('sends a fragment to HTMX and a page to browsers', async () => {
    const library = await start();
    expect(await page(library, '/search?q=')).toMatch(/^<!doctype html>/);
    expect(await page(library, '/search?q=', { 'hx-request': 'true' })).toMatch(/^<div/);
  });

  it('lists each tag twice with its short digest, and 404 for what is not there', async () => {
    const library = await start();
    const tags = await page(library, '/library/tiny/tags');
    expect([...tags.matchAll(/href="\/library\/tiny:([^"]+)"/g)].map((match) => match[1])).toEqual(['latest', 'latest', '135m', '135m']);
    expect(tags).toContain('bbbbbbbbbbbb<');
    expect(await page(library, '/library/tiny')).toContain('href="/library/tiny:135m"');
    expect((await fetch(`${library.endpoint}/library/none`)).status).toBe(404);
  });

  it('answers the JSON routes, and 500 when told to', async () => {
    const library = await start({ recommendations: [{ model: 'tiny' }] });
    expect(JSON.parse(await page(library, '/api/tags'))).toEqual({ models: [] });
    expect(JSON.parse(await page(library, '/api/experimental/model-recommendations'))).toEqual({ recommendations: [{ model: 'tiny' }] });
    library.faults.inject({ match: /search/, fault: { kind: 'status', status: 500 } });
    expect((await fetch(`${library.endpoint}/search?q=`)).status).toBe(500);
  });
});
