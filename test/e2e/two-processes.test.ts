import path from 'node:path';
import type { WebSocket } from 'ws';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { GraphqlSocket } from '../support/graphql-socket.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { openJsonSocket } from '../support/json-socket.ts';
import { enginesOf, isAlive, openFilesOf, processesNaming } from '../support/processes.ts';
import { startRedisServer, type RedisServer } from '../support/redis-server.ts';
import { RestClient } from '../support/rest-client.ts';
import { buildSafetensors } from '../support/safetensors.ts';
import { startSeparateCluster, stopSeparateCluster } from '../support/separate-cluster.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import { readSse } from '../support/sse.ts';
import type { TestCluster } from '../support/test-cluster.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const bigBytes = 64 * MiB;
const adminKey = 'one-key-for-all-processes';
/** Takeover is promised within 15 s; a machine that does other work as well gets twice that. */
const boundMs = 30_000;

type Json = Record<string, unknown>;
/** True once the subscriber has got the final state. */
type Subscriber = () => boolean;

describe('two service processes on one PostgreSQL and one Redis', () => {
  let hub: Hub;
  let cluster: TestCluster;
  let redis: RedisServer;
  let folders: TemporaryFolder[] = [];
  const services: ServiceProcess[] = [];
  const leaving = new AbortController();
  const sockets: WebSocket[] = [];
  const engines: number[] = [];
  const cacheFolder = (): string => path.join(folders[0]!.path, 'shared-cache');

  beforeAll(async () => {
    [cluster, redis] = await Promise.all([startSeparateCluster(), startRedisServer()]);
    hub = await createHub({
      repos: [
        { id: 'tiny/loop-GGUF', files: [{ path: 'loop-F16.gguf', content: bufferContent(buildTinyGguf({ mode: 'loop', contextLength: 65_536 })) }] },
        { id: 'big/bytes', files: [{ path: 'model.safetensors', content: bufferContent(buildSafetensors(bigBytes)) }] },
      ],
    });
    folders = await Promise.all([createTemporaryFolder('first'), createTemporaryFolder('second')]);
    const url = new URL(cluster.adminUrl);
    url.pathname = '/two_processes';
    const env = { HF_ENDPOINT: hub.endpoint, DATABASE_URL: url.href, REDIS_URL: redis.url, LLM_MANAGER_ADMIN_KEY: adminKey, HF_HUB_CACHE: cacheFolder() };
    for (const folder of folders) services.push(await startService({ dataDir: folder.path, env }));
  }, 180_000);
  afterAll(async () => {
    leaving.abort();
    for (const socket of sockets) socket.terminate();
    for (const service of services.filter((one) => one.isAlive())) {
      engines.push(...(await enginesOf(service.pid)));
      await service.end('SIGKILL');
    }
    // They would wait for another service.
    for (const pid of engines) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    for (const folder of folders) {
      for (const { pid } of await processesNaming(folder.path)) process.kill(pid, 'SIGKILL');
      await folder.remove();
    }
    await Promise.all([hub.close(), redis.close(), stopSeparateCluster(cluster)]);
  }, 60_000);

  const apiOf = (service: ServiceProcess): RestClient => new RestClient(service.url, adminKey);
  const waitFor = (api: RestClient, url: string, name: string, isRight: (view: Json) => boolean): Promise<Json> =>
    eventually(`${url} is as wanted`, async () => {
      const view = await api.expect(200, name, { method: 'GET', path: url });
      if (view['status'] === 'failed') throw new Error(JSON.stringify(view['error']));
      return isRight(view) ? view : null;
    }, 60_000);
  const pull = async (api: RestClient, modelId: string): Promise<string> =>
    String((await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: modelId, include: ['*.gguf', '*.safetensors'] } }))['task_id']);

  async function followBySocket(service: ServiceProcess, query: string, isFinal: (payload: string) => boolean): Promise<Subscriber> {
    const socket = new GraphqlSocket(service.url.replace('http', 'ws') + '/graphql');
    sockets.push(socket.socket);
    let isOver = false;
    socket.socket.on('message', (data) => (isOver ||= isFinal((data as Buffer).toString('utf8'))));
    await socket.initialised(adminKey, boundMs);
    socket.subscribe('1', query);
    return () => isOver;
  }

  async function followBySse(service: ServiceProcess, query: string, isFinal: (payload: string) => boolean): Promise<Subscriber> {
    const headers = { authorization: `Bearer ${adminKey}`, accept: 'text/event-stream', 'content-type': 'application/json' };
    const response = await fetch(`${service.url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query }), signal: leaving.signal });
    expect(response.status).toBe(200);
    let isOver = false;
    const read = async (): Promise<void> => {
      for await (const { data } of readSse(response)) isOver ||= isFinal(data);
    };
    // The process that is killed cuts its own.
    read().catch(() => undefined);
    return () => isOver;
  }

  async function followByWs(service: ServiceProcess, taskId: string): Promise<Subscriber> {
    const socket = await openJsonSocket(`${service.url.replace('http', 'ws')}/ws/download-progress?task_id=${taskId}`, { authorization: `Bearer ${adminKey}` });
    sockets.push(socket.socket);
    let isOver = false;
    socket.until((message) => JSON.stringify(message).includes('"completed"')).then(() => (isOver = true), () => undefined);
    return () => isOver;
  }

  /** A few at a time: it is not the speed of opening that is tested here. */
  async function repeat(count: number, open: () => Promise<Subscriber>): Promise<Subscriber[]> {
    const opened: Subscriber[] = [];
    while (opened.length < count) opened.push(...(await Promise.all(Array.from({ length: Math.min(10, count - opened.length) }, open))));
    return opened;
  }

  async function followDownload(service: ServiceProcess, taskId: string): Promise<Subscriber[]> {
    const query = `subscription { downloadProgress(taskId: "${taskId}") { task { status } } }`;
    const isDone = (payload: string): boolean => payload.includes('COMPLETED');
    return [
      ...(await repeat(50, () => followBySocket(service, query, isDone))),
      ...(await repeat(30, () => followBySse(service, query, isDone))),
      ...(await repeat(10, () => followByWs(service, taskId))),
    ];
  }

  async function followAnswer(service: ServiceProcess, messageId: string): Promise<Subscriber[]> {
    const query = `subscription { chatStream(messageId: "${messageId}") { type status } }`;
    const isEnd = (payload: string): boolean => payload.includes('INTERRUPTED');
    return [...(await repeat(5, () => followBySocket(service, query, isEnd))), ...(await repeat(5, () => followBySse(service, query, isEnd)))];
  }

  /** The process that works on the download: the one that has its unfinished file open. */
  const downloaderOf = (): Promise<ServiceProcess> =>
    eventually('one of them downloads', async () => {
      for (const service of services) if ((await openFilesOf(service.pid)).some((file) => file.startsWith(path.join(cacheFolder(), 'models--big--bytes')))) return service;
      return null;
    }, boundMs);

  async function say(api: RestClient, deployment: string, message: string): Promise<Json> {
    const session = await api.expect(201, 'session', { method: 'POST', path: '/api/chat/sessions/create', body: { deployment_id: deployment } });
    return (await api.call('POST', '/api/chat/send', { session_id: session['session_id'], message, stream: false, parameters: { max_tokens: 8 } })).body;
  }

  async function beginAnswer(api: RestClient, deployment: string): Promise<{ session: string; message: string }> {
    const session = String((await api.expect(201, 'session', { method: 'POST', path: '/api/chat/sessions/create', body: { deployment_id: deployment } }))['session_id']);
    const request = new AbortController();
    const stream = await api.raw('POST', '/api/chat/send', { session_id: session, message: 'Go on', stream: true, parameters: { max_tokens: 100_000 } }, request.signal);
    let message = '';
    for await (const { data } of readSse(stream)) {
      const event = JSON.parse(data) as { type: string; message_id?: string };
      message = event.message_id ?? message;
      if (event.type === 'token') break;
    }
    request.abort();
    return { session, message };
  }

  const statusOf = async (api: RestClient, session: string): Promise<unknown> => ((await api.call('GET', `/api/chat/history/${session}`)).body['items'] as Json[]).at(-1)?.['status'];

  it('serve as one, and when the one that downloads and answers is killed, the other goes on and tells every subscriber the end', async () => {
    const [one, two] = services.map(apiOf) as [RestClient, RestClient];
    await waitFor(two, `/api/downloads/${await pull(one, 'huggingface:tiny/loop-GGUF')}/status`, 'task', ({ status }) => status === 'completed');
    // Slow enough that the kill comes in its middle.
    hub.faults.inject({ fault: { kind: 'rate', bytesPerSecond: 64 * KiB }, server: 'cdn', times: Infinity });
    const task = await pull(one, 'huggingface:big/bytes');
    const victim = await downloaderOf();
    const survivor = services.find((service) => service !== victim)!;
    const [its, other] = [apiOf(victim), apiOf(survivor)];
    const body = { model_id: 'huggingface:tiny/loop-GGUF', name: 'loop', config: { threads: 1, context_size: 60_000 } };
    const deployment = String((await its.expect(202, 'deployment', { method: 'POST', path: '/api/deployments/start', body }))['deployment_id']);
    await waitFor(other, `/api/deployments/${deployment}/status`, 'deployment', ({ status }) => status === 'running');
    engines.push(...(await enginesOf(victim.pid)));
    expect([engines.length, await enginesOf(survivor.pid)]).toEqual([1, []]);
    // By the engine of the other process.
    expect(JSON.stringify(await say(other, deployment, 'Hi'))).toContain('"completed"');

    const subscribers = await followDownload(survivor, task);
    await followDownload(victim, task);
    const { session, message } = await beginAnswer(its, deployment);
    subscribers.push(...(await followAnswer(survivor, message)));
    await followAnswer(victim, message);
    expect(subscribers).toHaveLength(100);
    expect(await statusOf(other, session)).toBe('streaming');
    expect(await other.expect(200, 'task', { method: 'GET', path: `/api/downloads/${task}/status` })).toMatchObject({ status: 'running' });
    expect(subscribers.filter((isOver) => isOver())).toEqual([]);

    await victim.end('SIGKILL');
    hub.faults.clear();
    hub.requests.clear();
    await Promise.all([
      eventually('the answer is marked', async () => (await statusOf(other, session)) === 'interrupted', boundMs),
      eventually('the download goes on', () => hub.requests.entries.some(({ server }) => server === 'cdn'), boundMs),
    ]);
    await waitFor(other, `/api/downloads/${task}/status`, 'task', ({ status }) => status === 'completed');
    await eventually('every subscriber has the end', () => subscribers.every((isOver) => isOver()), boundMs);
    await eventually('the deployment answers again', async () => JSON.stringify(await say(other, deployment, 'Still there?')).includes('"completed"'), 60_000);
  }, 240_000);
});
