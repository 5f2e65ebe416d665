import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { type IndexServer, startIndexServer } from '../support/index-server.ts';
import { RestClient } from '../support/rest-client.ts';
import { type ServiceProcess, spawnService, startService } from '../support/service-process.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

const example = (name: string): string => fileURLToPath(new URL(`../../examples/plugins/${name}.ts`, import.meta.url));
const denied = Buffer.concat([buildTinyGguf(), Buffer.alloc(100)]);

/** A package as npm installs it: JavaScript, found by its name from the folder that the service was started in. */
const faultyPackage = `
import { definePlugin } from 'llm-manager/plugin';
const tick = (work) => new Promise(() => setTimeout(work, 0));
const runtime = {
  id: 'faulty', name: 'Faulty', capabilities: { needsModel: false, formats: [], adminOnly: false },
  probe: () => { throw new Error('probe') }, validate: () => { throw new Error('validate') }, start: () => { throw new Error('start') }, endOrphan: () => { throw new Error('end') },
};
const source = {
  id: 'faulty', name: 'Faulty', endpoint: 'http://127.0.0.1:9', capabilities: { sorts: { relevance: ['desc'] }, formats: ['gguf'], store: 'models_dir' },
  search: ({ query }) => {
    if (query === 'throws') throw new Error('search');
    if (query === 'garbage') return { items: [{ id: '../../etc/passwd' }] };
    if (query === 'nothing') return undefined;
    if (query === 'later') void tick(() => { throw new Error('nobody catches this') });
    if (query === 'floating') void Promise.reject(new Error('nobody waits for this'));
    return Promise.resolve({ items: [], nextCursor: null, total: 0 });
  },
  describe: () => Promise.resolve(null), categories: () => Promise.reject('no error'), locate: () => null, readRange: () => null,
};
export const faulty = definePlugin({ name: 'faulty', setup: () => ({ sources: [source], runtimes: [runtime], close: () => { throw new Error('close') } }) });
`;

async function installPackage(folder: string, name: string, code: string): Promise<void> {
  const home = join(folder, 'node_modules', name);
  await mkdir(home, { recursive: true });
  await writeFile(join(home, 'package.json'), JSON.stringify({ name, version: '1.0.0', type: 'module', exports: './index.js' }));
  await writeFile(join(home, 'index.js'), code);
}

describe('plug-ins, loaded by the service', () => {
  let folder: TemporaryFolder;
  let index: IndexServer;
  let service: ServiceProcess;
  let api: RestClient;

  beforeAll(async () => {
    folder = await createTemporaryFolder('plugins');
    index = await startIndexServer([
      { name: 'acme/tiny', files: [{ path: 'tiny.Q4_K_M.gguf', content: buildTinyGguf() }] },
      { name: 'acme/denied', files: [{ path: 'denied.Q4_K_M.gguf', content: denied }] },
    ]);
    await mkdir(join(folder.path, 'plugins', 'deny-list'), { recursive: true });
    await writeFile(join(folder.path, 'plugins', 'deny-list', 'denied.txt'), `${createHash('sha256').update(denied).digest('hex')}\n`);
    await installPackage(folder.path, '@acme/faulty', faultyPackage);
    const modules = [example('index-source'), example('deny-list-scanner'), example('file-alert-channel'), '@acme/faulty'].join(',');
    service = await startService({ dataDir: folder.path, env: { LLM_MANAGER_PLUGINS: modules, MODEL_INDEX_URL: index.indexUrl } });
    api = new RestClient(service.url, service.key);
  }, 90_000);

  afterAll(async () => {
    if (service.isAlive()) await service.end('SIGKILL');
    await index.close();
    await folder.remove();
  });

  async function download(modelId: string): Promise<Record<string, unknown>> {
    const task = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: modelId } });
    return await eventually(`the download of ${modelId} ends`, async () => {
      const now = await api.expect(200, 'task', { method: 'GET', path: `/api/downloads/${String(task['task_id'])}/status` });
      return now['status'] === 'completed' || now['status'] === 'failed' ? now : null;
    }, 60_000);
  }

  const search = async (query: string): Promise<Record<string, unknown>> => (await api.call('GET', `/api/models/search?q=${query}&source=faulty`)).body;

  it('find models at a source that a plug-in brings, and download them', async () => {
    const found = await api.call('GET', '/api/models/search?q=tiny&source=index');
    expect(found.body).toMatchObject({ items: [{ id: 'index:acme/tiny', source: 'index' }], sources: [{ source: 'index', status: 'ok' }] });
    expect(await download('index:acme/tiny')).toMatchObject({ status: 'completed', model_id: 'index:acme/tiny', error: null });
  });

  it('refuse a file that a scanner of a plug-in blocks', async () => {
    expect(await download('index:acme/denied')).toMatchObject({ status: 'failed', error: { code: 'BLOCKED_BY_SCAN', message: expect.stringContaining('not wanted here') } });
  });

  it('tell of alerts by a channel that a plug-in brings', async () => {
    const rule = 'mutation { createAlertRule(input: { name: "memory", metric: MEMORY_USED_PERCENT, threshold: 0, channels: ["file"] }) { __typename } }';
    expect((await api.call('POST', '/graphql', { query: rule })).body).toEqual({ data: { createAlertRule: { __typename: 'CreateAlertRulePayload' } } });
    const linesOf = async (): Promise<{ metric: string }[]> => {
      const text = await readFile(join(folder.path, 'plugins', 'alert-file', 'alerts.jsonl'), 'utf8').catch(() => '');
      return text.split('\n').slice(0, -1).map((line) => JSON.parse(line) as { metric: string });
    };
    const told = await eventually('it is told', async () => (await linesOf()).find(({ metric }) => metric === 'memory_used_percent') ?? null, 60_000);
    expect(told).toMatchObject({ event: 'raised', rule: { name: 'memory' }, comparison: 'above', threshold: 0 });
    // By a rule that comes with the service, and names no channel: the download that the scanner has blocked.
    expect((await linesOf()).map(({ metric }) => metric)).toContain('download_failed');
  });

  it.each(['throws', 'garbage', 'nothing'])('answer for a source that fails (%s) that it is not available', async (query) => {
    const answer = await search(query);
    expect(answer).toMatchObject({ items: [], sources: [{ source: 'faulty', status: 'failed', error: { code: 'SOURCE_UNAVAILABLE' } }] });
    expect(JSON.stringify(answer)).not.toContain('passwd');
  });

  it.each(['later', 'floating'])('go on when a plug-in lets a fault go uncaught (%s)', async (query) => {
    await search(query);
    const said = query === 'later' ? 'nobody catches this' : 'nobody waits for this';
    await eventually('the fault is logged', () => Promise.resolve(service.output().split('\n').find((line) => line.includes(said)) ?? null), 60_000);
    expect(service.output()).not.toContain('ends the service');
    expect((await api.call('GET', '/api/models/search?q=tiny&source=index')).status).toBe(200);
    expect((await api.call('GET', '/ready')).status).toBe(200);
    expect(service.isAlive()).toBe(true);
  });

  it('refuse a deployment on a runtime that fails, and name that runtime among those that cannot be used', async () => {
    const { status, body } = await api.call('POST', '/api/deployments/start', { runtime: 'faulty' });
    expect({ status, body }).toMatchObject({ status: 400, body: { error: { code: 'VALIDATION_FAILED' } } });
    const answer = await api.call('POST', '/graphql', { query: '{ deploymentRuntimes { runtimeId available detail } }' });
    expect(answer.body).toMatchObject({ data: { deploymentRuntimes: expect.arrayContaining([expect.objectContaining({ runtimeId: 'faulty', available: false, detail: expect.stringContaining('probe') })]) } });
  });

  it('end in order also when the end of one throws', async () => {
    expect(await service.end('SIGTERM')).toEqual({ code: 0, signal: null });
  });
});

describe('plug-ins that cannot be used', () => {
  it('stop the start with 2 and one line each that says why', async () => {
    const folder = await createTemporaryFolder('bad-plugins');
    const module = async (name: string, code: string): Promise<string> => {
      await writeFile(join(folder.path, `${name}.mjs`), `import { definePlugin } from 'llm-manager/plugin';\n${code}`);
      return `./${name}.mjs`;
    };
    const scanner = (id: string): string => `{ id: '${id}', version: '1', accepts: () => true, scan: () => [] }`;
    const bad: [string, string][] = [
      ['./missing.ts', 'there is no such file'],
      ['@acme/missing', 'cannot be loaded'],
      [await module('throws', 'throw new Error("it has no token");'), 'cannot be loaded: it has no token'],
      [await module('empty', 'export const nothing = {};'), 'exports nothing that was made with definePlugin'],
      [await module('shape', `export const it = definePlugin({ name: 'shape', setup: () => ({ scanners: [{ id: 'shape' }] }) });`), 'scanners.0.version'],
      [await module('unknown', `export const it = definePlugin({ name: 'unknown', setup: () => ({ dashboards: [] }) });`), 'dashboards'],
      [await module('taken', `export const it = definePlugin({ name: 'taken', setup: () => ({ scanners: [${scanner('pickle')}] }) });`), 'the id pickle of one of its scanners is taken'],
      [await module('fails', `export const it = definePlugin({ name: 'fails', setup: async () => { throw new Error('no list of words'); } });`), 'its setup failed: no list of words'],
      [await module('syntax', 'export const = 1;'), 'cannot be loaded'],
    ];
    const { child, output } = spawnService({ dataDir: folder.path, env: { LLM_MANAGER_PLUGINS: bad.map(([name]) => name).join(', ') } });
    const [code] = (await once(child, 'close')) as [number | null];
    const lines = output().split('\n').filter((line) => line.startsWith('llm-manager: '));
    expect(code).toBe(2);
    expect(lines).toHaveLength(bad.length);
    for (const [at, [name, why]] of bad.entries()) expect(lines[at]).toMatch(new RegExp(`^llm-manager: VALIDATION_FAILED: LLM_MANAGER_PLUGINS: .*${name.replace(/^\.\//, '').replaceAll('.', '\\.')}: .*${why.replaceAll('.', '\\.')}`));
    await folder.remove();
  });
});
