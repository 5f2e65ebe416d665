import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { enginesOf, isAlive, processesNaming } from '../support/processes.ts';
import { RestClient } from '../support/rest-client.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import { readSse } from '../support/sse.ts';
import { buildSafetensors } from '../support/safetensors.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

const MiB = 1024 * 1024;
const bigBytes = 96 * MiB;

type Json = Record<string, unknown>;

describe('kill -9 of the service', () => {
  let hub: Hub;
  let folder: TemporaryFolder;
  let service: ServiceProcess;
  let api: RestClient;

  const start = async (): Promise<void> => {
    service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint } });
    api = new RestClient(service.url, service.key);
  };
  const killAndRestart = async (): Promise<void> => {
    await service.end('SIGKILL');
    await start();
  };
  const get = (name: string, url: string): Promise<Json> => api.expect(200, name, { method: 'GET', path: url });
  const download = async (modelId: string, extra: Json = {}): Promise<string> =>
    String((await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: modelId, ...extra } }))['task_id']);
  const taskWith = (id: string, isRight: (task: Json) => boolean): Promise<Json> =>
    eventually(
      `the download is as wanted; hub saw ${hub.requests.entries.length} requests`,
      async () => {
        const task = await get('task', `/api/downloads/${id}/status`);
        if (task['status'] === 'failed') throw new Error(JSON.stringify(task['error']));
        return isRight(task) ? task : null;
      },
      60_000,
    );
  const deploymentWith = (id: string, isRight: (deployment: Json) => boolean): Promise<Json> =>
    eventually(
      'the deployment is as wanted',
      async () => {
        const deployment = await get('deployment', `/api/deployments/${id}/status`);
        return isRight(deployment) ? deployment : null;
      },
      60_000,
    );
  const deploy = async (modelId: string, name: string): Promise<string> =>
    String((await api.expect(202, 'deployment', { method: 'POST', path: '/api/deployments/start', body: { model_id: modelId, name, config: { threads: 1, context_size: 60_000 } } }))['deployment_id']);

  beforeAll(async () => {
    hub = await createHub({
      repos: [
        { id: 'tiny/loop-GGUF', files: [{ path: 'loop-F16.gguf', content: bufferContent(buildTinyGguf({ mode: 'loop', contextLength: 65_536 })) }] },
        { id: 'big/bytes', files: [{ path: 'model.safetensors', content: bufferContent(buildSafetensors(bigBytes)) }] },
      ],
    });
  });
  afterAll(() => hub.close());
  beforeEach(async () => {
    hub.requests.clear();
    hub.faults.clear();
    folder = await createTemporaryFolder('kill9');
    await start();
  }, 90_000);
  afterEach(async () => {
    // In order, so that it takes its engines along.
    if (service.isAlive()) await service.end('SIGTERM');
    // What the killed service leaves behind, its database above all, must not outlive the test.
    for (const { pid } of await processesNaming(folder.path)) process.kill(pid, 'SIGKILL');
    await folder.remove();
  });

  it('during a download: the next start goes on where it was, and the file ends up right', async () => {
    hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond: 8 * MiB }, server: 'cdn', times: Infinity });
    const id = await download('huggingface:big/bytes', { include: ['model.safetensors'] });
    const before = await taskWith(id, (task) => Number(task['downloaded_bytes']) > 24 * MiB);
    await service.end('SIGKILL');
    hub.faults.clear();
    const requestsBefore = hub.requests.entries.length;
    await start();
    await taskWith(id, (task) => Number(task['downloaded_bytes']) >= Number(before['downloaded_bytes']) - 16 * MiB);
    const done = await taskWith(id, ({ status }) => status === 'completed');
    expect(done).toMatchObject({ downloaded_bytes: bigBytes, progress: 1 });
    // Asked for, not sent: what waited in the kernel when the service died was read by nobody.
    const asked = hub.requests.entries.slice(requestsBefore).filter(({ server }) => server === 'cdn').reduce((sum, { bytesSent }) => sum + bytesSent, 0);
    expect(asked).toBeLessThanOrEqual(bigBytes - Number(before['downloaded_bytes']) + 16 * MiB);
    expect((await api.call('GET', '/api/downloads/list')).body['items']).toHaveLength(1);
  }, 120_000);

  it('during a load and while serving: the deployment comes back, the engine that serves stays, and nothing runs twice', async () => {
    await taskWith(await download('huggingface:tiny/loop-GGUF'), ({ status }) => status === 'completed');
    const id = await deploy('huggingface:tiny/loop-GGUF', 'loop');
    await deploymentWith(id, ({ status }) => status === 'starting');
    const loading = await enginesOf(service.pid);
    await killAndRestart();
    const before = await deploymentWith(id, ({ status }) => status === 'running');
    const serving = await enginesOf(service.pid);
    await killAndRestart();
    const after = await deploymentWith(id, ({ status }) => status === 'running');
    expect(after).toMatchObject({ endpoint: before['endpoint'], started_at: before['started_at'], restarts: 0 });
    const taken = async (): Promise<number> => ((await api.call('GET', `/api/deployments/${id}/logs?q=Taken over`)).body['items'] as Json[]).length;
    await eventually('it is taken over', async () => (await taken()) === 1);
    expect(serving.filter(isAlive)).toEqual(serving);
    expect(await enginesOf(service.pid)).toEqual([]);
    expect(loading.filter((pid) => !serving.includes(pid)).filter(isAlive)).toEqual([]);
    expect((await service.end('SIGTERM')).code).toBe(0);
    expect(serving.filter(isAlive)).toEqual([]);
    expect(await processesNaming(folder.path)).toEqual([]);
  }, 120_000);

  it('and with LLM_MANAGER_ON_STOP=keep an ordinary end: the engine goes on, and the next start takes it over', async () => {
    await service.end('SIGTERM');
    service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint, LLM_MANAGER_ON_STOP: 'keep' } });
    api = new RestClient(service.url, service.key);
    await taskWith(await download('huggingface:tiny/loop-GGUF'), ({ status }) => status === 'completed');
    const id = await deploy('huggingface:tiny/loop-GGUF', 'loop');
    const before = await deploymentWith(id, ({ status }) => status === 'running');
    const engines = await enginesOf(service.pid);
    expect((await service.end('SIGTERM')).code).toBe(0);
    expect(engines.filter(isAlive)).toEqual(engines);
    await start();
    const after = await deploymentWith(id, ({ status }) => status === 'running');
    expect(after).toMatchObject({ endpoint: before['endpoint'], started_at: before['started_at'] });
    const chat = await api.call('POST', '/api/chat/send', { deployment_id: id, message: 'Go on', parameters: { max_tokens: 5 } });
    expect(chat.status).toBe(200);
    expect((await service.end('SIGTERM')).code).toBe(0);
    expect(engines.filter(isAlive)).toEqual([]);
  }, 120_000);

  it('during a chat: the message is marked interrupted and keeps its text, once', async () => {
    await taskWith(await download('huggingface:tiny/loop-GGUF'), ({ status }) => status === 'completed');
    const id = await deploy('huggingface:tiny/loop-GGUF', 'loop');
    await deploymentWith(id, ({ status }) => status === 'running');
    const session = String((await api.expect(201, 'session', { method: 'POST', path: '/api/chat/sessions/create', body: { deployment_id: id } }))['session_id']);
    const leaving = new AbortController();
    const response = await api.raw('POST', '/api/chat/send', { session_id: session, message: 'Go on', stream: true, parameters: { max_tokens: 100_000 } }, leaving.signal);
    let seen = '';
    for await (const { data } of readSse(response)) {
      seen += (JSON.parse(data) as { text?: string }).text ?? '';
      if (seen.length > 200) break;
    }
    leaving.abort();
    const stored = async (): Promise<Json[]> => (await api.call('GET', `/api/chat/history/${session}`)).body['items'] as Json[];
    await eventually('partial text is stored', async () => ((await stored()).some(({ role, content }) => role === 'assistant' && String(content).length > 100) ? true : null));
    await killAndRestart();
    const messages = await stored();
    expect(messages.map(({ role, status }) => [role, status])).toEqual([
      ['user', 'completed'],
      ['assistant', 'interrupted'],
    ]);
    const text = String(messages[1]?.['content']);
    expect(text.length).toBeGreaterThan(100);
    const shorter = Math.min(text.length, seen.length);
    expect(text.slice(0, shorter)).toBe(seen.slice(0, shorter));
  }, 120_000);

  it('leaves files that the next start takes over: the same key, a lock of a dead process, no stale address', async () => {
    const read = (name: string): Promise<string> => readFile(path.join(folder.path, name), 'utf8');
    const key = await read('admin.key');
    const killed = service.pid;
    await killAndRestart();
    expect(await read('admin.key')).toBe(key);
    expect(JSON.parse(await read('server.json'))).toMatchObject({ pid: service.pid, url: service.url });
    expect(service.pid).not.toBe(killed);
    expect((await api.call('GET', '/api/deployments/list')).status).toBe(200);
  }, 60_000);
});
