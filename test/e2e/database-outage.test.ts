import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { withSqlClient } from '../../src/infrastructure/database/sql-client.ts';
import { createGate } from '../../src/shared/async.ts';
import { startCompletionsServer, type CompletionsServer } from '../support/completions-server.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { isAlive, processesNaming } from '../support/processes.ts';
import { RestClient } from '../support/rest-client.ts';
import { buildSafetensors } from '../support/safetensors.ts';
import { startSeparateCluster, stopSeparateCluster } from '../support/separate-cluster.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import type { TestCluster } from '../support/test-cluster.ts';

const MiB = 1024 * 1024;
const bigBytes = 48 * MiB;
const waitMs = 60_000;

type Json = Record<string, unknown>;

/** The server's own record of how it was started. */
async function commandOf(cluster: TestCluster): Promise<{ pid: number; program: string; args: string[] }> {
  const read = (name: string): Promise<string> => readFile(path.join(cluster.folder, 'database', 'cluster', name), 'utf8');
  const [program = '', ...args] = (await read('postmaster.opts')).trim().split(' ').map((word) => word.replaceAll('"', ''));
  return { pid: Number.parseInt(await read('postmaster.pid'), 10), program, args };
}

describe('PostgreSQL that goes away and comes back', () => {
  let hub: Hub;
  let engine: CompletionsServer;
  let cluster: TestCluster;
  let folder: TemporaryFolder;
  let service: ServiceProcess;
  let api: RestClient;
  let databaseUrl: string;

  beforeAll(async () => {
    cluster = await startSeparateCluster();
    hub = await createHub({ repos: [{ id: 'big/bytes', files: [{ path: 'model.safetensors', content: bufferContent(buildSafetensors(bigBytes)) }] }] });
    engine = await startCompletionsServer();
    folder = await createTemporaryFolder('outage');
    const url = new URL(cluster.adminUrl);
    url.pathname = '/outage';
    databaseUrl = url.href;
    service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint, DATABASE_URL: databaseUrl } });
    api = new RestClient(service.url, service.key);
  }, 180_000);
  afterAll(async () => {
    if (service.isAlive()) await service.end('SIGTERM');
    for (const { pid } of await processesNaming(folder.path)) process.kill(pid, 'SIGKILL');
    await Promise.all([hub.close(), engine.close(), stopSeparateCluster(cluster)]);
    await folder.remove();
  }, 60_000);

  const terminateAll = (): Promise<unknown> =>
    withSqlClient(databaseUrl, (client) => client.execute("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()"));

  async function whileAway(work: () => Promise<void>): Promise<void> {
    const { pid, program, args } = await commandOf(cluster);
    process.kill(pid, 'SIGINT');
    await eventually('PostgreSQL has ended', () => !isAlive(pid), waitMs);
    try {
      await work();
    } finally {
      const runAs = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {};
      spawn(program, args, { cwd: path.join(cluster.folder, 'database'), stdio: 'ignore', detached: true, ...runAs }).unref();
    }
    await eventually('the service is ready again', async () => (await fetch(`${service.url}/ready`)).status === 200, waitMs);
  }

  async function eventsOf(subjectId: string): Promise<unknown[]> {
    return await withSqlClient(databaseUrl, async (client) => (await client.execute(`select to_state from state_events where subject_id = '${subjectId}' order by id`)).map((row) => row['to_state']));
  }

  it('costs no download and no answer anything, and callers a 503 that says when to come back', async () => {
    hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond: MiB }, server: 'cdn', times: Infinity });
    const task = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: 'huggingface:big/bytes', include: ['model.safetensors'] } });
    const deployment = await api.expect(202, 'deployment', { method: 'POST', path: '/api/deployments/start', body: { runtime: 'remote', name: 'far', config: { base_url: engine.baseUrl } } });
    const status = (url: string, name: string): Promise<Json> => api.expect(200, name, { method: 'GET', path: url });
    await eventually('the deployment runs', async () => (await status(`/api/deployments/${String(deployment['deployment_id'])}/status`, 'deployment'))['status'] === 'running', waitMs);

    const goOn = createGate();
    engine.script({ tokens: ['before', ' after'], holdBefore: { index: 1, gate: goOn } });
    const stream = await api.raw('POST', '/api/chat/send', { deployment_id: deployment['deployment_id'], message: 'x', stream: true });
    await eventually('the engine answers', () => engine.active === 1, waitMs);
    await eventually('the download is under way', async () => Number((await status(`/api/downloads/${String(task['task_id'])}/status`, 'task'))['downloaded_bytes']) > MiB, waitMs);

    await terminateAll();
    await eventually('reads work again', async () => (await api.call('GET', '/api/downloads/list')).status === 200, waitMs);
    await whileAway(async () => {
      for (const [method, url, body] of [['GET', '/api/downloads/list'], ['POST', '/api/chat/sessions/create', { title: 'x' }], ['GET', '/api/deployments/list']] as const) {
        const answer = await api.call(method, url, body);
        expect(answer).toMatchObject({ status: 503, body: { error: { code: 'OVERLOADED' } } });
        expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      }
      expect((await fetch(`${service.url}/health`)).status).toBe(200);
      expect((await fetch(`${service.url}/ready`)).status).toBe(503);
      // The answer ends while nothing can be stored.
      goOn.open();
      await eventually('the engine is done', () => engine.active === 0, waitMs);
    });

    const text = await stream.text();
    expect(text).toContain(' after');
    const messageId = String((/"message_id":"([^"]+)"/.exec(text) ?? [])[1]);
    hub.faults.clear();
    const done = await eventually('the download is complete', async () => {
      const seen = await status(`/api/downloads/${String(task['task_id'])}/status`, 'task');
      if (seen['status'] === 'failed') throw new Error(JSON.stringify(seen['error']));
      return seen['status'] === 'completed' ? seen : null;
    }, waitMs);
    expect(done).toMatchObject({ downloaded_bytes: bigBytes, progress: 1 });
    const stored = await withSqlClient(databaseUrl, (client) => client.execute(`select status, content from chat_messages where id = '${messageId}'`));
    expect(stored).toEqual([{ status: 'completed', content: 'before after' }]);
    expect(await eventsOf(messageId)).toEqual(['streaming', 'completed']);
    expect((await eventsOf(String(task['task_id']))).at(-1)).toBe('completed');
  }, 240_000);

  it('and a lock that somebody holds delays what needs it, and fails nothing', async () => {
    const asked = await withSqlClient(databaseUrl, async (client) => {
      await client.execute('begin');
      await client.execute('lock table chat_sessions in access exclusive mode');
      const waiting = api.call('POST', '/api/chat/sessions/create', { title: 'late' });
      await eventually('it waits for the lock', async () => (await client.execute('select count(*)::int as count from pg_locks where not granted'))[0]?.['count'] !== 0, waitMs);
      expect((await api.call('GET', '/api/downloads/list')).status).toBe(200);
      await client.execute('commit');
      return waiting;
    });
    expect(asked.status).toBe(201);
  }, 120_000);
});
