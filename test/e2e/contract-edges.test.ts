/** What the contract promises at its edges, on the service as a process: what callers meet who do not keep to the usual way. */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { RestClient } from '../support/rest-client.ts';
import { spawnService, startService, type ServiceOptions, type ServiceProcess } from '../support/service-process.ts';

let folder: TemporaryFolder;
let service: ServiceProcess;
let api: RestClient;

async function run(options: ServiceOptions): Promise<{ code: number | null; said: string[] }> {
  const { child, output } = spawnService(options);
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said: output().trim().split('\n') };
}

beforeAll(async () => {
  folder = await createTemporaryFolder('edges');
  service = await startService({ dataDir: folder.path });
  api = new RestClient(service.url, service.key);
}, 90_000);

afterAll(async () => {
  await service.end('SIGTERM');
  await folder.remove();
}, 60_000);

describe('a start', () => {
  it('that cannot be says why in lines with a code, one for each fault', async () => {
    const second = await run({ dataDir: folder.path });
    expect(second).toEqual({ code: 1, said: [expect.stringMatching(new RegExp(`^llm-manager: INVALID_STATE: .*\\b${service.pid}\\b`))] });
    const faults = await run({ dataDir: folder.path, env: { LLM_MANAGER_BOGUS: '1', LLM_MANAGER_PORT: 'abc', LLM_MANAGER_LOG_LEVEL: 'loud' } });
    const line = (name: string): unknown => expect.stringMatching(new RegExp(`^llm-manager: VALIDATION_FAILED: .*LLM_MANAGER_${name}\\b`));
    expect(faults).toEqual({ code: 2, said: [line('BOGUS'), line('PORT'), line('LOG_LEVEL')] });
  });

  it('with --json writes nothing but JSON on standard output, and says there when it is ready', async () => {
    const fresh = await createTemporaryFolder('json');
    const { child } = spawnService({ dataDir: fresh.path, args: ['--json'] });
    const out = text(child.stdout!);
    const server = await eventually('it is ready', async () => JSON.parse(await readFile(path.join(fresh.path, 'server.json'), 'utf8').catch(() => 'null')) as { url: string } | null, 60_000);
    child.kill('SIGTERM');
    const lines = (await out).trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.filter(({ type }) => type === 'ready')).toEqual([expect.objectContaining({ url: server.url, pid: child.pid, data_dir: fresh.path })]);
    await fresh.remove();
  }, 90_000);
});

describe('the probes', () => {
  it('tell whether database, events and queue answer, in detail only to callers with a key, and take none in the URL', async () => {
    expect((await api.call('GET', '/ready')).body).toEqual({ status: 'ready', checks: { database: 'ok', events: 'ok', queue: 'ok' } });
    expect((await new RestClient(service.url, null).call('GET', '/ready')).body).toEqual({ status: 'ready' });
    for (const path of ['/ready', '/metrics']) {
      const { status, headers, body } = await api.call('POST', path);
      expect([status, headers.get('allow'), body]).toEqual([405, 'GET', { error: expect.objectContaining({ code: 'METHOD_NOT_ALLOWED' }) }]);
      expect(await api.call('GET', `${path}?api_key=x`)).toMatchObject({ status: 400, body: { error: { code: 'VALIDATION_FAILED' } } });
    }
  });
});
