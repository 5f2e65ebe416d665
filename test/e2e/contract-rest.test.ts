/** What programs that know the documented routes alone would try, good and bad, on the service as a process. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { gzipSync } from 'node:zlib';
import { createGate } from '../../src/shared/async.ts';
import { startCompletionsServer, type CompletionsServer } from '../support/completions-server.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { documentedPaths } from '../support/documented-paths.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { unavailable } from '../support/hub/faults.ts';
import { openJsonSocket } from '../support/json-socket.ts';
import { RestClient, type RestAnswer } from '../support/rest-client.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import { readSse } from '../support/sse.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

type Item = Record<string, unknown>;

const modelId = 'huggingface:tiny/story-GGUF';
const nobody = '00000000-0000-4000-8000-000000000000';
const isoTime = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;
const json = { 'content-type': 'application/json' };

let hub: Hub;
let engine: CompletionsServer;
let folder: TemporaryFolder;
let service: ServiceProcess;
let api: RestClient;

beforeAll(async () => {
  const story = bufferContent(buildTinyGguf({ mode: 'story' }));
  const large = bufferContent(Buffer.concat([buildTinyGguf({ mode: 'story' }), Buffer.alloc(24 * 1024 * 1024)]));
  hub = await createHub({
    repos: [
      { id: 'tiny/story-GGUF', files: [{ path: 'story-F16.gguf', content: story }] },
      { id: 'tiny/late-GGUF', files: [{ path: 'late-F16.gguf', content: story }] },
      { id: 'big/slow-GGUF', files: [{ path: 'slow-Q4_0.gguf', content: large }] },
      { id: 'locked/gated-GGUF', gated: 'manual', files: [{ path: 'gated-F16.gguf', content: story }] },
    ],
  });
  engine = await startCompletionsServer();
  folder = await createTemporaryFolder('contract');
  service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint } });
  api = new RestClient(service.url, service.key);
}, 90_000);

afterAll(async () => {
  const output = service.output();
  const { code } = await service.end('SIGTERM');
  await engine.close();
  await hub.close();
  await folder.remove();
  // Whatever was sent, nothing of it may have been a fault of ours.
  expect(output.split('\n').filter((line) => line.includes('"level":50'))).toEqual([]);
  expect(code).toBe(0);
}, 60_000);

function codeOf({ status, body }: RestAnswer): string {
  const error = body['error'] as { code?: string } | undefined;
  if (status < 400) return String(status);
  expect(Object.keys(body)).toEqual(['error']);
  expect(error).toMatchObject({ code: expect.stringMatching(/^[A-Z_]+$/), message: expect.stringMatching(/./) });
  return `${status} ${error?.code ?? ''}`;
}

async function ask(method: string, path: string, body?: unknown): Promise<string> {
  const answer = await api.call(method, path, body);
  expect(answer.headers.get('api-version')).toBe('1');
  expect(answer.headers.get('x-request-id')).not.toBeNull();
  return codeOf(answer);
}

async function send(path: string, init: RequestInit): Promise<string> {
  const response = await fetch(`${service.url}${path}`, { ...init, headers: { authorization: `Bearer ${service.key}`, ...(init.headers as Record<string, string>) } });
  return codeOf({ status: response.status, headers: response.headers, body: (await response.json()) as Item });
}

async function graphql(query: string, variables: Item): Promise<{ data: Record<string, Item | null> | null; errors?: { extensions: Item }[] }> {
  const answer = await api.call('POST', '/graphql', { query, variables });
  return answer.body as Awaited<ReturnType<typeof graphql>>;
}

async function createKey(role: string, owner: string): Promise<{ id: string; client: RestClient; secret: string }> {
  const query = 'mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { ... on CreateApiKeyPayload { secret key { keyId } } } }';
  const made = (await graphql(query, { input: { name: owner, owner, role } })).data?.['createApiKey'] as { secret: string; key: { keyId: string } };
  return { id: made.key.keyId, secret: made.secret, client: new RestClient(service.url, made.secret) };
}

async function taskIs(id: unknown, ...statuses: string[]): Promise<Item> {
  return await eventually(`${String(id)} is ${statuses.join(' or ')}`, async () => {
    const task = await api.expect(200, 'task', { method: 'GET', path: `/api/downloads/${String(id)}/status` });
    return statuses.includes(String(task['status'])) ? task : null;
  }, 20_000);
}

async function remote(name: string): Promise<string> {
  const body = { runtime: 'remote', name, config: { base_url: engine.baseUrl, api_key: 'sk-hidden' } };
  const started = await api.expect(202, 'deployment', { method: 'POST', path: '/api/deployments/start', body });
  expect(JSON.stringify(started)).not.toContain('sk-hidden');
  const id = String(started['deployment_id']);
  await eventually(`${name} runs`, async () => (await api.expect(200, 'deployment', { method: 'GET', path: `/api/deployments/${id}/status` }))['status'] === 'running');
  return id;
}

describe('before anything else', () => {
  it('asks for a key, then for a version, a route, a method and good input', async () => {
    const stranger = new RestClient(service.url, null);
    for (const path of ['/api', '/api/v9/x', '/api/none', '/api/models/search?bogus=1', '/api/openapi.json', `/api/models/categories?key=${service.key}`]) {
      const answer = await stranger.call('GET', path);
      expect([path, codeOf(answer), answer.headers.get('www-authenticate')]).toEqual([path, '401 UNAUTHENTICATED', 'Bearer']);
    }
    const answers: Record<string, string> = {
      '/api/v1/models/categories': '200',
      '/api/models/categories/': '200',
      '/api/v2/models/categories': '404 UNKNOWN_API_VERSION',
      '/api/v01/models/categories': '404 UNKNOWN_API_VERSION',
      '/api/v1': '404 ROUTE_NOT_FOUND',
      '/api/models': '404 ROUTE_NOT_FOUND',
      '/api/downloads/start': '405 METHOD_NOT_ALLOWED',
      '/api/models/categories?bogus=1': '400 VALIDATION_FAILED',
      '/api/models/categories?api_key=x': '400 VALIDATION_FAILED',
      '/api/downloads/list?limit=5&limit=6': '400 VALIDATION_FAILED',
      '/api/downloads/list?__proto__=1': '400 VALIDATION_FAILED',
      '/api/downloads/%ff/status': '400 VALIDATION_FAILED',
      '/api/downloads/%00/status': '404 DOWNLOAD_NOT_FOUND',
      '/api/downloads/..%2f..%2fx/status': '404 DOWNLOAD_NOT_FOUND',
    };
    for (const [path, expected] of Object.entries(answers)) expect([path, await ask('GET', path)]).toEqual([path, expected]);
    for (const limit of ['0', '101', '-1', '1.5', '', 'x', '1e1', '99999999999999999999']) expect([limit, await ask('GET', `/api/deployments/list?limit=${limit}`)]).toEqual([limit, '400 VALIDATION_FAILED']);
  });

  it('reads JSON objects in UTF-8 of at most 1 MiB, and nothing else', async () => {
    const path = '/api/chat/send';
    const bodies: [string, RequestInit][] = [
      ['400 VALIDATION_FAILED', { headers: json, body: '{"message":' }],
      ['400 VALIDATION_FAILED', { headers: json, body: '[]' }],
      ['400 VALIDATION_FAILED', { headers: json, body: '{"__proto__":{"message":"x"}}' }],
      ['400 VALIDATION_FAILED', { headers: json, body: `{"message":${'['.repeat(50_000)}${']'.repeat(50_000)}}` }],
      ['400 VALIDATION_FAILED', { headers: json, body: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]) }],
      ['415 UNSUPPORTED_MEDIA_TYPE', { headers: { 'content-type': 'text/plain' }, body: '{}' }],
      ['415 UNSUPPORTED_MEDIA_TYPE', { headers: { ...json, 'content-encoding': 'gzip' }, body: gzipSync('{}') }],
      ['413 PAYLOAD_TOO_LARGE', { headers: json, body: JSON.stringify({ message: 'x'.repeat(2 * 1024 * 1024) }) }],
    ];
    for (const [expected, init] of bodies) expect(await send(path, { method: 'POST', ...init })).toBe(expected);
  });

  it('shows its own document and pages without anything from elsewhere', async () => {
    const { body } = await api.call('GET', '/api/openapi.json');
    expect(body['openapi']).toMatch(/^3\.1/);
    expect(Object.keys(body['paths'] as Item).sort()).toEqual(documentedPaths.map((path) => `/api${path}`).sort());
    for (const path of ['/api/docs', '/graphql']) {
      const page = await fetch(`${service.url}${path}`, { headers: { accept: 'text/html', authorization: `Bearer ${service.key}` } });
      expect([path, page.status, page.headers.get('content-security-policy')?.split(';')[0]]).toEqual([path, 200, "default-src 'none'"]);
      expect(await page.text()).not.toMatch(/(?:src|href)=["']?(?:https?:)?\/\//);
    }
  });
});

describe('downloads', () => {
  it('are refused at once when they cannot be', async () => {
    const start = (body: unknown): Promise<string> => ask('POST', '/api/downloads/start', body);
    expect(await start({ model_id: 'no/such' })).toBe('404 MODEL_NOT_FOUND');
    expect(await start({ model_id: 'elsewhere:no/such' })).toBe('404 MODEL_NOT_FOUND');
    expect(await start({ model_id: 'locked/gated-GGUF' })).toBe('403 MODEL_GATED');
    expect(await start({ model_id: modelId, bogus: 1 })).toBe('400 VALIDATION_FAILED');
    const hostile: Item[] = [{ include: ['a\0'] }, { exclude: ['a\0'] }, { exclude: ['\ud800'] }, { variant: '\ud800' }, { variant: 'a\0' }, { revision: 'a\0' }, { revision: '../..' }, { priority: 1e9 }, { override: ['all'] }];
    for (const fields of hostile) expect([fields, await start({ model_id: modelId, ...fields })]).toEqual([fields, '400 VALIDATION_FAILED']);
  });

  it('begin without the source, and go on when it is back', async () => {
    const outage = hub.faults.inject({ server: 'hub', fault: unavailable() });
    const task = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: 'tiny/late-GGUF' } });
    expect(task).toMatchObject({ model_id: 'huggingface:tiny/late-GGUF', status: expect.stringMatching(/^(queued|retrying)$/), total_bytes: null, error: { code: 'SOURCE_UNAVAILABLE' } });
    outage.remove();
    expect(await taskIs(task['task_id'], 'completed', 'failed')).toMatchObject({ status: 'completed', progress: 1, error: null, queue_position: null });
  });

  it('are paused, found, resumed, cancelled and forgotten', async () => {
    const body = { model_id: 'big/slow-GGUF', max_bytes_per_second: 1_000_000 };
    const { task_id: id } = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body });
    const path = `/api/downloads/${String(id)}`;
    expect(await api.expect(200, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: 'huggingface:big/slow-GGUF' } })).toMatchObject({ task_id: id });
    await eventually('bytes have come', async () => Number((await api.expect(200, 'task', { method: 'GET', path: `${path}/status` }))['downloaded_bytes']) > 0);
    expect(await api.expect(200, 'task', { method: 'PUT', path: `${path}/pause` })).toMatchObject({ status: 'paused', created_at: expect.stringMatching(isoTime), finished_at: null });
    expect((await api.call('GET', '/api/downloads/list?status=paused&model_id=big%2Fslow-GGUF')).body).toMatchObject({ items: [{ task_id: id, status: 'paused' }], next_cursor: null });
    expect(await ask('PUT', `${path}/resume`)).toBe('200');
    expect(await ask('DELETE', path)).toBe('200');
    await taskIs(id, 'cancelled');
    const refused = await api.call('PUT', `${path}/pause`);
    expect([codeOf(refused), refused.body['error']]).toEqual(['409 INVALID_STATE', expect.objectContaining({ details: { status: 'cancelled', allowed: expect.any(Array) } })]);
    expect(await ask('DELETE', path)).toBe('200');
    expect(await ask('GET', `${path}/status`)).toBe('404 DOWNLOAD_NOT_FOUND');
  });
});

describe('deployments', () => {
  it('keep a model that they use, its name and its port to themselves', async () => {
    const { task_id: taskId } = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: modelId } });
    expect(await ask('POST', '/api/deployments/start', { model_id: 'big/slow-GGUF' })).toBe('409 MODEL_NOT_INSTALLED');
    await taskIs(taskId, 'completed');
    const started = await api.expect(202, 'deployment', { method: 'POST', path: '/api/deployments/start', body: { model_id: modelId, name: 'own', config: { threads: 1, context_size: 512 } } });
    const path = `/api/deployments/${String(started['deployment_id'])}`;
    const running = await eventually('it runs', async () => {
      const now = await api.expect(200, 'deployment', { method: 'GET', path: `${path}/status` });
      return now['status'] === 'running' ? now : null;
    }, 20_000);
    const port = Number(new URL(String(running['endpoint'])).port);
    const again = (fields: Item): Promise<string> => ask('POST', '/api/deployments/start', { model_id: modelId, ...fields });
    expect(await again({ name: 'own' })).toBe('409 NAME_TAKEN');
    expect(await again({ name: 'other', config: { port } })).toBe('409 PORT_IN_USE');
    for (const name of ['', 'A', '-a', 'a/b', 'a\0', 'x'.repeat(64)]) expect([name, await again({ name })]).toEqual([name, '400 VALIDATION_FAILED']);
    expect(await ask('DELETE', `/api/downloads/${String(taskId)}?delete_files=true`)).toBe('409 MODEL_IN_USE');
    const environment = await api.call('POST', '/api/deployments/start', { model_id: modelId, config: { environment: { LD_PRELOAD: 'x' } } });
    expect(environment.body['error']).toMatchObject({ details: { fields: [{ field: 'config.environment.LD_PRELOAD' }] } });

    const lines = await api.call('GET', `${path}/logs?tail=1000`);
    const times = (lines.body['items'] as Item[]).map(({ time }) => String(time));
    expect(times.length).toBeGreaterThan(1);
    expect(times).toEqual([...times].sort());
    expect(await ask('PUT', `${path}/stop`)).toBe('202');
    await eventually('it stopped', async () => (await api.expect(200, 'deployment', { method: 'GET', path: `${path}/status` }))['status'] === 'stopped');
    const chat = await api.call('POST', '/api/chat/send', { deployment_id: started['deployment_id'], message: 'x' });
    expect([codeOf(chat), chat.body['error']]).toEqual(['409 INVALID_STATE', expect.objectContaining({ details: expect.objectContaining({ status: 'stopped' }) })]);
    expect(await ask('DELETE', `/api/downloads/${String(taskId)}?delete_files=true`)).toBe('200');
  }, 40_000);

  it('of servers elsewhere are for administrators, and hold no text that cannot be stored', async () => {
    const body = (config: Item): Item => ({ runtime: 'remote', name: 'far', config: { base_url: engine.baseUrl, ...config } });
    for (const config of [{ model: 'a\0' }, { model: '\ud800' }, { base_url: 'file:///etc/passwd' }, { api_key: 'a\0' }, { parallel: 0 }, { parallel: 257 }]) {
      expect([config, await ask('POST', '/api/deployments/start', body(config))]).toEqual([config, '400 VALIDATION_FAILED']);
    }
    for (const role of ['OPERATOR', 'USER', 'VIEWER']) {
      const { client } = await createKey(role, `far-${role}`);
      expect([role, codeOf(await client.call('POST', '/api/deployments/start', body({})))]).toEqual([role, '403 FORBIDDEN']);
    }
  });
});

describe('chat', () => {
  it('streams what it stores, to a reader who comes back as to one who stayed', async () => {
    const id = await remote('speaker');
    // Apart in time: tokens that come together make one piece.
    engine.script({ tokens: ['One', ' two', '\n\n', '\u{1f600}', ' five'], tokenMs: 50 });
    const response = await api.raw('POST', '/api/chat/send', { deployment_id: id, message: 'count', stream: true });
    expect(response.headers.get('content-type')).toMatch(/^text\/event-stream/);
    const events: { id: string | undefined; data: Item }[] = [];
    for await (const event of readSse(response)) events.push({ id: event.id, data: JSON.parse(event.data) as Item });
    const texts = events.slice(1, -1).map(({ data }) => String(data['text']));
    expect(texts.join('')).toBe('One two\n\n\u{1f600} five');
    const messageId = String(events[0]?.data['message_id']);
    expect([events[0]?.data['type'], events.at(-1)?.data['type']]).toEqual(['start', 'end']);
    expect(events.slice(1, -1).map(({ id: place, data }) => [data['type'], place, data['index']])).toEqual(texts.map((_, index) => ['token', `${messageId}:${index}`, index]));
    const history = await api.call('GET', `/api/chat/history/${String(response.headers.get('x-chat-session-id'))}`);
    expect(history.body['items']).toMatchObject([{ role: 'user', content: 'count' }, { role: 'assistant', content: texts.join(''), status: 'completed', usage: { completion_tokens: 5 } }]);

    const socket = await openJsonSocket(`${service.url.replace('http', 'ws')}/ws/chat/stream`);
    socket.send({ type: 'auth', key: service.key });
    for (let after = -1; after < texts.length; after += 1) {
      socket.send({ type: 'resume', request_id: `r${after}`, message_id: messageId, ...(after >= 0 && { after }) });
      const rest = await socket.until(({ type, request_id: request }) => request === `r${after}` && (type === 'end' || type === 'error'));
      expect(rest.filter(({ type }) => type === 'token').map(({ text }) => text)).toEqual(texts.slice(after + 1));
      expect(rest.at(-1)).toMatchObject({ type: 'end', index: texts.length - 1 });
    }
    await socket.end();
  }, 20_000);

  it('stays with its owner on every way in', async () => {
    const id = await remote('private');
    const [alice, bob] = [await createKey('USER', 'alice'), await createKey('USER', 'bob')];
    const sent = await alice.client.call('POST', '/api/chat/send', { deployment_id: id, message: 'between us' });
    const sessionId = String(sent.body['session_id']);
    const answerId = String((sent.body['messages'] as Item[])[1]?.['message_id']);
    for (const [method, path, body] of [
      ['GET', `/api/chat/history/${sessionId}`, undefined],
      ['DELETE', `/api/chat/sessions/${sessionId}`, undefined],
      ['POST', `/api/chat/export/${sessionId}`, { format: 'json' }],
      ['POST', '/api/chat/send', { session_id: sessionId, deployment_id: id, message: 'x' }],
    ] as const) {
      for (const client of [bob.client, api]) expect([path, codeOf(await client.call(method, path, body))]).toEqual([path, '404 CHAT_SESSION_NOT_FOUND']);
    }
    const global = Buffer.from(`ChatMessage:${answerId}`).toString('base64');
    expect((await graphql('query ($id: ID!) { node(id: $id) { id } }', { id: global })).data).toEqual({ node: null });
    const socket = await openJsonSocket(`${service.url.replace('http', 'ws')}/ws/chat/stream`, { authorization: `Bearer ${bob.secret}` });
    socket.send({ type: 'resume', request_id: 'r', message_id: answerId });
    expect(await socket.next()).toMatchObject({ type: 'error', request_id: 'r', error: { code: 'CHAT_MESSAGE_NOT_FOUND' } });
    await socket.end();
    const file = await alice.client.raw('POST', `/api/chat/export/${sessionId}`, { format: 'markdown' });
    expect([file.status, file.headers.get('content-type'), file.headers.get('content-disposition')]).toEqual([200, expect.stringMatching(/^text\/markdown/), expect.stringMatching(/^attachment; filename="[^"]+\.md"/)]);
    expect(await file.text()).toContain('between us');
    const { body: page } = await alice.client.call('GET', `/api/chat/history/${sessionId}?limit=1`);
    expect(await ask('GET', `/api/downloads/list?cursor=${String(page['next_cursor'])}`)).toBe('400 VALIDATION_FAILED');
    expect((await alice.client.raw('DELETE', `/api/chat/sessions/${sessionId}`)).status).toBe(204);
  });

  it('refuses parameters out of range and text that cannot be stored', async () => {
    const id = await remote('strict');
    const say = (fields: Item): Promise<string> => ask('POST', '/api/chat/send', { deployment_id: id, message: 'x', ...fields });
    const parameters: Item[] = [{ temperature: 2.1 }, { temperature: -0.1 }, { top_p: 1.1 }, { max_tokens: 0 }, { max_tokens: 1.5 }, { top_k: -1 }, { stop: 'x' }, { unknown: 1 }, { response_format: { type: 'xml' } }, { response_format: { type: 'json_schema', json_schema: { title: '\ud800' } } }];
    for (const given of parameters) expect([given, await say({ parameters: given })]).toEqual([given, '400 VALIDATION_FAILED']);
    for (const message of ['', '  ', 'a\0b', '\ud800', 5, null]) expect([message, await say({ message })]).toEqual([message, '400 VALIDATION_FAILED']);
    expect(await ask('POST', '/api/chat/send', { deployment_id: nobody, message: 'x' })).toBe('404 DEPLOYMENT_NOT_FOUND');
    expect(await ask('POST', '/api/chat/send', { session_id: nobody, message: 'x' })).toBe('404 CHAT_SESSION_NOT_FOUND');
  });

  it('ends everything that a key holds open once it is revoked', async () => {
    const id = await remote('watched');
    const { id: keyId, client, secret } = await createKey('OPERATOR', 'leaver');
    const held = createGate();
    engine.script({ tokens: ['a', 'b'], holdBefore: { index: 1, gate: held } });
    const socket = await openJsonSocket(`${service.url.replace('http', 'ws')}/ws/download-progress`, { authorization: `Bearer ${secret}` });
    const stream = await client.raw('POST', '/api/chat/send', { deployment_id: id, message: 'hold', stream: true });
    const drained = stream.text().then(() => 'ended', () => 'cut');
    await graphql('mutation ($id: ID!) { revokeApiKey(input: { keyId: $id }) { __typename } }', { id: keyId });
    expect((await socket.closed).code).toBe(4403);
    expect(await drained).toBe('cut');
    expect(codeOf(await client.call('GET', '/api/models/categories'))).toBe('401 UNAUTHENTICATED');
    held.open();
  });
});

describe('global ids', () => {
  it('of a type that there is not, or of nothing, are refused and not a fault of ours', async () => {
    for (const text of ['Nope:1', '__proto__:1', 'constructor:1', 'Query:1', 'x']) {
      const { errors } = await graphql('query ($id: ID!) { node(id: $id) { id } }', { id: Buffer.from(text).toString('base64') });
      expect([text, errors?.[0]?.extensions['code']]).toEqual([text, 'VALIDATION_FAILED']);
    }
    expect((await graphql('query ($id: ID!) { node(id: $id) { id } }', { id: Buffer.from(`Deployment:${nobody}`).toString('base64') })).data).toEqual({ node: null });
  });
});
