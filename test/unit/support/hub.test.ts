import { createHash } from 'node:crypto';
import { afterEach, describe, expect, it } from '@jest/globals';
import { bufferContent, seededContent, sha256Of } from '../../support/hub/content.ts';
import { rateLimited } from '../../support/hub/faults.ts';
import type { Hub, HubOptions } from '../../support/hub/hub.ts';
import { createHub } from '../../support/hub/hub.ts';
import type { RepoInput } from '../../support/hub/repos.ts';

const WEIGHTS = seededContent('weights', 1_000_000);
const REPO: RepoInput = {
  id: 'acme/tiny',
  files: [
    { path: 'README.md', content: '# Tiny\n' },
    { path: 'sub/config.json', content: '{"a":1}' },
    { path: 'tiny.gguf', content: WEIGHTS },
  ],
  pipelineTag: 'text-generation',
  gguf: { total: 135_000_000, architecture: 'llama' },
};

let hub: Hub | undefined;
async function start(options: HubOptions = {}): Promise<Hub> {
  hub = await createHub({ repos: [REPO], ...options });
  return hub;
}
afterEach(async () => {
  await hub?.close();
  hub = undefined;
});

type Json = Record<string, unknown>;
const getJson = async <T = Json>(url: string, headers: Record<string, string> = {}): Promise<T> => (await (await fetch(url, { headers })).json()) as T;
const head = (url: string, init: RequestInit = {}): Promise<Response> => fetch(url, { redirect: 'manual', ...init });

async function locate(started: Hub, path = 'tiny.gguf'): Promise<string> {
  const answer = await head(`${started.endpoint}/acme/tiny/resolve/main/${path}`);
  return answer.headers.get('location') ?? '';
}
const ranged = (url: string, range: string, headers: Record<string, string> = {}): Promise<Response> => fetch(url, { headers: { range, ...headers } });
const sha256 = (bytes: ArrayBuffer): string => createHash('sha256').update(new Uint8Array(bytes)).digest('hex');

describe('seeded content', () => {
  it('gives the same bytes for a range as for the whole', () => {
    const whole = WEIGHTS.slice(0, WEIGHTS.size);
    for (const [from, to] of [[0, 1], [15, 17], [16, 48], [999_990, 1_000_000]] as const) {
      expect(WEIGHTS.slice(from, to).equals(whole.subarray(from, to))).toBe(true);
    }
    expect(sha256Of(WEIGHTS)).toBe(sha256Of(bufferContent(whole)));
    expect(seededContent('other', 64).slice(0, 64).equals(whole.subarray(0, 64))).toBe(false);
  });

  it('serves the far end of a file larger than any disk', () => {
    const huge = seededContent('huge', 2 ** 45);
    expect(huge.slice(2 ** 45 - 5, 2 ** 45)).toHaveLength(5);
  });
});

describe('search', () => {
  const repos: RepoInput[] = ['a/one', 'a/two', 'b/three', 'b/four', 'b/five'].map((id, index) => ({ ...REPO, id, downloads: index }));

  it('pages by Link with absolute addresses, in descending order whatever the caller asks for', async () => {
    const { endpoint } = await start({ repos, searchPageSize: 2 });
    const seen: unknown[] = [];
    let next: string | undefined = `${endpoint}/api/models?sort=downloads&direction=1&filter=gguf`;
    while (next !== undefined) {
      const answer: Response = await fetch(next);
      const page = (await answer.json()) as Json[];
      expect(page.length).toBeLessThanOrEqual(2);
      seen.push(...page.map(({ id }) => id));
      next = /<(https?:[/][/][^>]+)>;\s+rel="next"/.exec(answer.headers.get('link') ?? '')?.[1];
    }
    expect(seen).toEqual(['b/five', 'b/four', 'b/three', 'a/two', 'a/one']);
  });

  it('narrows by search, author, each filter and task', async () => {
    const { endpoint } = await start({ repos });
    const ids = async (query: string): Promise<unknown[]> => (await getJson<Json[]>(`${endpoint}/api/models?${query}`)).map(({ id }) => id);
    expect(await ids('search=THREE')).toEqual(['b/three']);
    expect(await ids('author=a&sort=id')).toEqual(['a/two', 'a/one']);
    expect(await ids('filter=gguf&filter=license:mit')).toEqual([]);
    expect(await ids('pipeline_tag=text-to-image')).toEqual([]);
    expect(await ids('num_parameters=min:100M,max:1B')).toHaveLength(5);
    expect(await ids('limit=1')).toHaveLength(1);
  });

  it('gives only the properties that expand names, and refuses unknown ones', async () => {
    const { endpoint } = await start({ repos });
    const [first] = await getJson<Json[]>(`${endpoint}/api/models?expand=likes&expand[]=tags`);
    expect(Object.keys(first ?? {}).sort()).toEqual(['_id', 'id', 'likes', 'tags']);
    expect((await fetch(`${endpoint}/api/models?expand=nonsense`)).status).toBe(400);
    expect((await fetch(`${endpoint}/api/models?sort=nonsense`)).status).toBe(400);
  });
});

describe('listings', () => {
  it('tells sizes and hashes that hold for the served bytes', async () => {
    const { endpoint } = await start({ treePageSize: 2 });
    const first = await fetch(`${endpoint}/api/models/acme/tiny/tree/HEAD?recursive=true&expand=true`);
    expect(await first.json()).toEqual([
      expect.objectContaining({ type: 'file', path: 'README.md', oid: createHash('sha1').update('blob 7\0# Tiny\n').digest('hex') }),
      expect.objectContaining({ type: 'directory', path: 'sub' }),
    ]);
    const link = /<([^>]+)>/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
    const [, weights] = await getJson<Json[]>(link);
    expect(weights).toMatchObject({ size: 1_000_000, lfs: { oid: sha256Of(WEIGHTS), size: 1_000_000 }, securityFileStatus: { status: 'safe' } });
    expect(weights?.['xetHash']).not.toBe(sha256Of(WEIGHTS));
  });

  it('pins a commit: a later one changes main and not the old listing', async () => {
    const started = await start({ repos: [] });
    const repo = started.addRepo(REPO);
    const old = repo.sha;
    repo.commit([{ path: 'README.md', content: 'new' }]);
    expect(await getJson(`${started.endpoint}/api/models/acme/tiny`)).toMatchObject({ sha: repo.sha, siblings: [{ rfilename: 'README.md' }] });
    expect(await getJson<Json[]>(`${started.endpoint}/api/models/acme/tiny/tree/${old}`)).toHaveLength(3);
  });

  it('answers paths-info, blobs and securityStatus', async () => {
    const { endpoint } = await start({ repos: [{ ...REPO, files: [{ path: 'a.pt', content: 'x', security: 'unsafe' }] }] });
    const answer = await fetch(`${endpoint}/api/models/acme/tiny/paths-info/main`, { method: 'POST', body: JSON.stringify({ paths: ['a.pt', 'none'], expand: true }) });
    expect(await answer.json()).toMatchObject([{ path: 'a.pt', securityFileStatus: { status: 'unsafe' } }]);
    expect(await getJson(`${endpoint}/api/models/acme/tiny/revision/main?blobs=true&securityStatus=true`)).toMatchObject({
      siblings: [{ rfilename: 'a.pt', size: 1, lfs: { size: 1 } }],
      securityRepoStatus: { filesWithIssues: [{ path: 'a.pt', level: 'unsafe' }] },
    });
  });

  it('hands hostile names through as they are', async () => {
    const hostile = ['../../etc/passwd', '/abs', 'C:\\x', 'a/../b', 'nul\0'];
    const { endpoint } = await start({ repos: [{ id: 'x/y', files: hostile.map((path) => ({ path, content: 'x' })) }] });
    const files = await getJson<Json[]>(`${endpoint}/api/models/x/y/tree/main?recursive=true`);
    expect(files.filter(({ type }) => type === 'file').map(({ path }) => path).sort()).toEqual([...hostile].sort());
  });
});

describe('access', () => {
  const tokens = { good: { name: 'ann', repos: ['p/private', 'g/gated'] }, other: { name: 'bob', repos: [] } };
  const repos: RepoInput[] = [{ ...REPO, id: 'p/private', private: true }, { ...REPO, id: 'g/gated', gated: 'auto' }, { ...REPO, id: 'd/disabled', disabled: true }];

  it.each([
    ['x/missing', undefined, 401, 'RepoNotFound'],
    ['x/missing', 'good', 404, 'RepoNotFound'],
    ['p/private', undefined, 401, 'RepoNotFound'],
    ['p/private', 'other', 404, 'RepoNotFound'],
    ['p/private', 'good', 307, null],
    ['g/gated', undefined, 401, 'GatedRepo'],
    ['g/gated', 'other', 403, 'GatedRepo'],
    ['g/gated', 'good', 307, null],
    ['g/gated', 'wrong', 401, null],
    ['d/disabled', 'good', 403, null],
  ] as const)('answers %s with token %s by %i %s', async (id, token, status, code) => {
    const { endpoint } = await start({ repos, tokens });
    const answer = await head(`${endpoint}/${id}/resolve/main/README.md`, { headers: token ? { authorization: `Bearer ${token}` } : {} });
    expect([answer.status, answer.headers.get('x-error-code')]).toEqual([status, code]);
  });

  it('tells revision and entry apart, refuses %2F in ids, redirects from a former id', async () => {
    const { endpoint } = await start({ repos: [{ ...REPO, formerIds: ['old/tiny'] }] });
    const code = async (path: string): Promise<unknown> => (await head(endpoint + path)).headers.get('x-error-code');
    expect(await code('/acme/tiny/resolve/nope/README.md')).toBe('RevisionNotFound');
    expect(await code('/acme/tiny/resolve/main/nope')).toBe('EntryNotFound');
    expect((await head(`${endpoint}/api/models/acme%2Ftiny`)).status).toBe(400);
    expect(await getJson(`${endpoint}/api/models/old/tiny`)).toMatchObject({ id: 'acme/tiny' });
  });

  it('enforces a quota where one is set and tells the wait', async () => {
    const { endpoint } = await start({ rateLimits: { api: 1 } });
    expect((await fetch(`${endpoint}/api/models`)).headers.get('ratelimit')).toMatch(/^"api";r=0;t=\d+$/);
    expect((await fetch(`${endpoint}/api/models`)).status).toBe(429);
  });
});

describe('bytes', () => {
  it('sends small files by a relative redirect, with an ETag that is honoured', async () => {
    const { endpoint } = await start();
    const location = (await head(`${endpoint}/acme/tiny/resolve/main/README.md`)).headers.get('location') ?? '';
    expect(location).toMatch(/^\/api\/resolve-cache\/models\/acme\/tiny\/[0-9a-f]{40}\/README\.md\?/);
    const answer = await fetch(endpoint + location);
    expect(await answer.text()).toBe('# Tiny\n');
    expect((await fetch(endpoint + location, { headers: { 'if-none-match': answer.headers.get('etag') ?? '' } })).status).toBe(304);
  });

  it.each(['cloudfront', 's3'] as const)('sends LFS files to another host name that takes ranges (%s address)', async (urlStyle) => {
    const started = await start({ urlStyle });
    const answer = await head(`${started.endpoint}/acme/tiny/resolve/main/tiny.gguf`, { method: 'HEAD' });
    expect(answer.status).toBe(302);
    expect(answer.headers.get('x-linked-size')).toBe('1000000');
    expect(answer.headers.get('x-linked-etag')).toBe(`"${sha256Of(WEIGHTS)}"`);
    const url = answer.headers.get('location') ?? '';
    expect(new URL(url).hostname).toBe('localhost');
    expect(sha256(await (await fetch(url)).arrayBuffer())).toBe(sha256Of(WEIGHTS));
    const part = await ranged(url, 'bytes=10-19');
    expect([part.status, part.headers.get('content-range')]).toEqual([206, 'bytes 10-19/1000000']);
    expect(Buffer.from(await part.arrayBuffer()).equals(WEIGHTS.slice(10, 20))).toBe(true);
    expect((await ranged(url, 'bytes=1000000-')).headers.get('content-range')).toBe('bytes */1000000');
    expect((await ranged(url, 'bytes=0-9', { 'if-range': '"another"' })).status).toBe(200);
  });

  it('refuses tokens, forged and expired addresses at the CDN', async () => {
    const started = await start();
    const url = await locate(started);
    expect((await fetch(url, { headers: { authorization: 'Bearer x' } })).status).toBe(400);
    expect((await fetch(url.replace(/Expires=\d/, 'Expires=9'))).status).toBe(403);
    started.expireUrls();
    expect((await fetch(url)).status).toBe(403);
    expect((await ranged(await locate(started), 'bytes=0-0')).status).toBe(206);
  });

  it('gives the pointer of an LFS file as raw, and Xet details to those who ask', async () => {
    const { endpoint } = await start();
    expect(await (await fetch(`${endpoint}/acme/tiny/raw/main/tiny.gguf`)).text()).toContain(`oid sha256:${sha256Of(WEIGHTS)}\nsize 1000000\n`);
    const details = await fetch(`${endpoint}/acme/tiny/resolve/main/tiny.gguf`, { headers: { accept: 'application/vnd.xet-fileinfo+json, */*', range: 'bytes=0-0' } });
    expect(details.headers.get('content-type')).toContain('xet-fileinfo');
    const auth = /<([^>]+)>; rel="xet-auth"/.exec(details.headers.get('link') ?? '')?.[1] ?? '';
    expect(await getJson(auth)).toMatchObject({ casUrl: expect.any(String), exp: expect.any(Number) });
  });
});

describe('faults', () => {
  const CDN = /xet-bridge/;

  it('hits only the requests it names', async () => {
    const started = await start();
    const injected = started.faults.inject({ server: 'hub', nth: [2], fault: rateLimited(55, { retryAfter: true }) });
    const answers = [await fetch(`${started.endpoint}/api/models`), await fetch(`${started.endpoint}/api/models`), await fetch(`${started.endpoint}/api/models`)];
    expect(answers.map(({ status }) => status)).toEqual([200, 429, 200]);
    expect(answers[1]?.headers.get('retry-after')).toBe('55');
    expect(injected.hits).toBe(1);
  });

  it('breaks the body by reset, short and unannounced end', async () => {
    const started = await start();
    const url = await locate(started);
    for (const fault of [{ kind: 'reset', afterBytes: 5000 }, { kind: 'short', afterBytes: 5000 }, { kind: 'close' }] as const) {
      started.faults.inject({ match: CDN, times: 1, fault });
      await expect(fetch(url).then((answer) => answer.arrayBuffer())).rejects.toThrow();
    }
    started.faults.inject({ match: CDN, times: 1, fault: { kind: 'short', afterBytes: 5000, noLength: true } });
    expect((await (await fetch(url)).arrayBuffer()).byteLength).toBe(5000);
    expect(started.requests.sentRanges(CDN)).toContainEqual({ start: 0, end: 5000 });
  });

  it('flips one bit at a place in the file, whichever range carries it', async () => {
    const started = await start();
    const url = await locate(started);
    started.faults.inject({ match: CDN, fault: { kind: 'flip', atByte: 150_000 } });
    const got = Buffer.from(await (await ranged(url, 'bytes=100000-399999')).arrayBuffer());
    const truth = WEIGHTS.slice(100_000, 400_000);
    expect([...got.keys()].filter((index) => got[index] !== truth[index])).toEqual([50_000]);
  });

  it('ignores a range, lies about it, and changes the ETag', async () => {
    const started = await start();
    const url = await locate(started);
    started.faults.inject({ match: CDN, nth: 1, fault: { kind: 'ignore_range' } });
    started.faults.inject({ match: CDN, nth: 2, fault: { kind: 'wrong_range', shiftBytes: 7, total: 5 } });
    started.faults.inject({ match: CDN, nth: 3, fault: { kind: 'etag', value: '"changed"' } });
    started.faults.inject({ match: CDN, nth: 4, fault: { kind: 'expire' } });
    expect((await ranged(url, 'bytes=0-9')).status).toBe(200);
    expect((await ranged(url, 'bytes=0-9')).headers.get('content-range')).toBe('bytes 7-16/5');
    expect((await ranged(url, 'bytes=0-9')).headers.get('etag')).toBe('"changed"');
    expect((await ranged(url, 'bytes=0-9')).status).toBe(403);
  });

  it('stalls until it is let go, and holds back the first byte', async () => {
    const started = await start();
    const url = await locate(started);
    const gate = Promise.withResolvers<undefined>();
    started.faults.inject({ match: CDN, nth: 1, fault: { kind: 'stall', afterBytes: 3000, until: gate.promise } });
    const body = fetch(url).then((answer) => answer.arrayBuffer());
    await started.requests.waitFor((log) => log.matching(CDN).some(({ bytesSent }) => bytesSent === 3000));
    gate.resolve(undefined);
    expect(sha256(await body)).toBe(sha256Of(WEIGHTS));
    started.faults.inject({ match: CDN, fault: { kind: 'slow_start', until: new Promise(() => undefined) } });
    const stopping = new AbortController();
    const slow = fetch(url, { signal: stopping.signal });
    await started.requests.waitFor((log) => log.matching(CDN).length === 2);
    stopping.abort();
    await expect(slow).rejects.toThrow();
  });

  it('limits the rate of a connection', async () => {
    const started = await start({ cdnBytesPerSecond: 4_000_000 });
    const url = await locate(started);
    const before = performance.now();
    await (await fetch(url)).arrayBuffer();
    // A lower bound only: 1 MB at 4 MB/s cannot come quicker, however busy the machine is.
    expect(performance.now() - before).toBeGreaterThan(150);
  });

  it('counts the bytes that went out twice', async () => {
    const started = await start();
    const url = await locate(started);
    for (const range of ['bytes=0-99', 'bytes=100-199', 'bytes=150-249']) await (await ranged(url, range)).arrayBuffer();
    expect(started.requests.bytesSentTwice(CDN)).toBe(50);
  });
});
