import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type * as z from 'zod';
import { errorBody } from '../../../src/adapters/rest/response-schemas.ts';
import { restRoutes } from '../../../src/adapters/rest/routes/table.ts';
import { AppError } from '../../../src/shared/errors.ts';
import type { StartDownload } from '../../../src/domains/downloads/types.ts';
import { startRestBench, type RestBench } from '../../support/rest-bench.ts';

let bench: RestBench;

beforeAll(async () => {
  bench = await startRestBench();
});
afterAll(async () => {
  await bench.close();
});

/** Holds an answer against its schema; a field that the schema does not name is a fault, too. */
function expectExactly(schema: z.ZodType, answer: unknown): void {
  const parsed = schema.safeParse(answer);
  expect(parsed.error?.issues ?? []).toEqual([]);
  // Parsing drops what the schema does not know.
  expect(answer).toEqual(parsed.data);
}

type Case = { name: string; method: string; path: string; body?: unknown; status: number };
const task = '01900000-0000-7000-8001-000000000000';
const ended = '01900000-0000-7000-8001-000000000001';
const deployment = '01900000-0000-7000-8002-000000000000';
const session = '01900000-0000-7000-8003-000000000000';

const cases: readonly Case[] = [
  { name: 'searchModels', method: 'GET', path: '/api/models/search?q=tiny&source=huggingface&category=chat&sort=downloads&order=desc&format=gguf&limit=2', status: 200 },
  { name: 'listModelCategories', method: 'GET', path: '/api/models/categories', status: 200 },
  { name: 'getModel', method: 'GET', path: '/api/models/huggingface:acme%2Fmodel-1/info', status: 200 },
  { name: 'startDownload', method: 'POST', path: '/api/downloads/start', body: { model_id: 'acme/model-0', target: 'local', override: ['scan'] }, status: 201 },
  { name: 'listDownloads', method: 'GET', path: `/api/downloads/list?status=running&limit=1`, status: 200 },
  { name: 'getDownload', method: 'GET', path: `/api/downloads/${task}/status`, status: 200 },
  { name: 'pauseDownload', method: 'PUT', path: `/api/downloads/${task}/pause`, status: 200 },
  { name: 'resumeDownload', method: 'PUT', path: `/api/downloads/${task}/resume`, status: 200 },
  { name: 'deleteDownload', method: 'DELETE', path: `/api/downloads/${ended}?delete_files=true`, status: 200 },
  { name: 'startDeployment', method: 'POST', path: '/api/deployments/start', body: { model_id: 'acme/model-0', config: { gpu_layers: 2, restart: { policy: 'on_failure' } } }, status: 202 },
  { name: 'listDeployments', method: 'GET', path: '/api/deployments/list?status=running', status: 200 },
  { name: 'getDeployment', method: 'GET', path: `/api/deployments/${deployment}/status`, status: 200 },
  { name: 'stopDeployment', method: 'PUT', path: `/api/deployments/${deployment}/stop`, status: 202 },
  { name: 'restartDeployment', method: 'PUT', path: `/api/deployments/${deployment}/restart`, status: 202 },
  { name: 'getDeploymentLogs', method: 'GET', path: `/api/deployments/${deployment}/logs?tail=5&level=info&since=2026-01-01T00:00:00Z&q=st`, status: 200 },
  { name: 'getSystemResources', method: 'GET', path: '/api/system/resources', status: 200 },
  { name: 'createChatSession', method: 'POST', path: '/api/chat/sessions/create', body: { deployment_id: deployment, title: 'x', parameters: { response_format: { type: 'json_object' } } }, status: 201 },
  { name: 'sendChatMessage', method: 'POST', path: '/api/chat/send', body: { session_id: session, message: 'hi', parameters: { temperature: 0.1, stop: ['x'] } }, status: 200 },
  { name: 'getChatHistory', method: 'GET', path: `/api/chat/history/${session}?limit=1`, status: 200 },
  { name: 'deleteChatSession', method: 'DELETE', path: `/api/chat/sessions/${session}`, status: 204 },
];

describe('each documented route', () => {
  it('has a case below, or a test of its own', () => {
    const names = restRoutes.map(({ operationId }) => operationId).filter((name) => name !== 'exportChatSession');
    expect(cases.map(({ name }) => name).sort()).toEqual(names.sort());
  });

  it.each(cases)('$name answers $status with exactly what its schema says', async ({ name, method, path, body, status }) => {
    const route = restRoutes.find(({ operationId }) => operationId === name)!;
    const answer = await bench.client.call(method, path, body);
    expect([answer.status, answer.status === status ? null : answer.body]).toEqual([status, null]);
    expect(answer.headers.get('api-version')).toBe('1');
    expect(answer.headers.get('x-request-id')).toMatch(/^[\w.-]{8,}$/);
    if (route.response === null) expect(answer.body).toEqual({});
    else expectExactly(route.response, answer.body);
    const pinned = await bench.client.call(method, path.replace('/api/', '/api/v1/'), body);
    expect([pinned.status, pinned.body]).toEqual([answer.status, answer.body]);
  });

  it('sends sizes beyond 2^31 as numbers, times as ISO 8601 and enum values in lower case', async () => {
    const { body } = await bench.client.call('GET', `/api/downloads/${task}/status`);
    expect(body['task']).toMatchObject({ task_id: task, total_bytes: 5_000_000_000, status: 'running', created_at: '2026-01-01T00:00:00.000Z', files: [{ sha256: 'a'.repeat(64) }] });
  });

  it('tells a description as text and as Markdown, digests in both forms and which variants are installed', async () => {
    const { body } = await bench.client.call('GET', '/api/models/huggingface:acme/model-1/info');
    expect(body['model']).toMatchObject({
      id: 'huggingface:acme/model-1',
      description: 'Hello',
      description_markdown: '# Hello',
      files: [{ digest: `sha256:${'a'.repeat(64)}`, sha256: 'a'.repeat(64) }],
      variants: [{ name: 'Q4_K_M', recommended: true, installed: false }],
    });
  });

  it('leaves the error of a source out when there is none', async () => {
    const { body } = await bench.client.call('GET', '/api/models/search');
    expect(body['sources']).toEqual([{ source: 'huggingface', status: 'ok', cached: false }]);
  });

  it('pages by next_cursor until it is null', async () => {
    const seen: unknown[] = [];
    let next: string | null = '';
    while (next !== null) {
      const { body } = await bench.client.call('GET', `/api/models/search?limit=2${next === '' ? '' : `&cursor=${next}`}`);
      const page = body as { items: { id: string }[]; next_cursor: string | null };
      seen.push(...page.items.map(({ id }) => id));
      next = page.next_cursor;
    }
    expect(seen).toEqual(['huggingface:acme/model-0', 'huggingface:acme/model-1', 'huggingface:acme/model-2']);
  });
});

describe('starting a download', () => {
  it('answers 200 with the task that fetches the same already', async () => {
    const { startDownload } = bench.world;
    bench.world.startDownload = async () => ({ task: bench.world.downloads[0]!, created: false });
    const answer = await bench.client.call('POST', '/api/downloads/start', { model_id: 'acme/model-0' });
    bench.world.startDownload = startDownload;
    expect([answer.status, (answer.body['task'] as { task_id: string }).task_id]).toEqual([200, task]);
  });

  it('hands every field on, in the words of the use case', async () => {
    const { startDownload } = bench.world;
    const got: StartDownload[] = [];
    bench.world.startDownload = async (input, ...rest) => {
      got.push(input);
      return await startDownload(input, ...rest);
    };
    const body = { model_id: 'ollama:tiny:1b', variant: 'v', include: ['*.gguf'], exclude: ['b*'], revision: 'main', target: 'ollama', priority: -3, max_bytes_per_second: 5_000_000_000, override: ['unsafe_format', 'scan'] };
    await fetch(`${bench.url}/api/downloads/start`, { method: 'POST', headers: { 'x-api-key': bench.key, 'content-type': 'application/json', 'idempotency-key': 'again-1' }, body: JSON.stringify(body) });
    bench.world.startDownload = startDownload;
    expect(got).toEqual([
      { modelId: 'ollama:tiny:1b', variant: 'v', include: ['*.gguf'], exclude: ['b*'], revision: 'main', target: 'ollama', priority: -3, maxBytesPerSecond: 5_000_000_000, override: ['unsafe_format', 'scan'], idempotencyKey: 'again-1' },
    ]);
  });

  it.each([
    { error: new AppError('INSUFFICIENT_STORAGE', 'No room.', { details: { required_bytes: 9_000_000_000, available_bytes: 1 } }), status: 507, details: { required_bytes: 9_000_000_000, available_bytes: 1 } },
    { error: new AppError('MODEL_DOES_NOT_FIT', 'Too big.', { details: { needed_bytes: 2, available_bytes: 1, max_context_size: 512 } }), status: 422, details: { needed_bytes: 2, available_bytes: 1, max_context_size: 512 } },
    { error: new AppError('MODEL_GATED', 'Ask first.', { details: { url: 'https://hub.invalid/acme' } }), status: 403, details: { url: 'https://hub.invalid/acme' } },
    { error: new AppError('INVALID_STATE', 'Not now.', { details: { status: 'running', allowed: ['paused'] } }), status: 409, details: { status: 'running', allowed: ['paused'] } },
    { error: new AppError('SOURCE_UNAVAILABLE', 'Down.', { retryAfterSeconds: 7 }), status: 502, details: undefined },
    { error: new AppError('OVERLOADED', 'Busy.', {}), status: 503, details: undefined },
    { error: new AppError('MODEL_NOT_FOUND', 'No such model.', {}), status: 404, details: undefined },
  ])('tells $error.code with its status and details', async ({ error, status, details }) => {
    const { startDownload } = bench.world;
    bench.world.startDownload = async () => {
      throw error;
    };
    const answer = await bench.client.call('POST', '/api/downloads/start', { model_id: 'acme/model-0' });
    bench.world.startDownload = startDownload;
    expect([answer.status, answer.body]).toEqual([status, { error: { code: error.code, message: error.message, ...(details && { details }) } }]);
    if (error.code === 'SOURCE_UNAVAILABLE') expect(answer.headers.get('retry-after')).toBe('7');
    if (error.code === 'OVERLOADED') expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('masks what nobody foresaw, and names the request under which the log has it', async () => {
    const { startDownload } = bench.world;
    bench.world.startDownload = async () => {
      throw new Error('/home/secret/path exploded');
    };
    const answer = await bench.client.call('POST', '/api/downloads/start', { model_id: 'acme/model-0' });
    bench.world.startDownload = startDownload;
    expect(answer.status).toBe(500);
    expect(answer.body).toEqual({ error: { code: 'INTERNAL', message: expect.any(String), details: { request_id: answer.headers.get('x-request-id') } } });
    expect(JSON.stringify(answer.body)).not.toContain('secret');
    expect(bench.logger.records.some(({ level, fields }) => level === 'error' && fields['requestId'] === answer.headers.get('x-request-id'))).toBe(true);
  });
});

describe('deleting a download', () => {
  it('cancels an unfinished one, and forgets an ended one', async () => {
    expect((await bench.client.call('DELETE', `/api/downloads/${task}`)).body['task']).toMatchObject({ task_id: task, status: 'cancelled' });
    expect((await bench.client.call('DELETE', `/api/downloads/${ended}`)).body['task']).toMatchObject({ task_id: ended, status: 'completed' });
  });
});

describe('exporting a chat', () => {
  it('answers a file with a safe name', async () => {
    const response = await bench.client.raw('POST', `/api/chat/export/${session}`, { format: 'markdown' });
    expect([response.status, await response.text()]).toEqual([200, 'onetwo']);
    expect(response.headers.get('content-disposition')).toBe(`attachment; filename="chat.markdown"; filename*=UTF-8''chat.markdown`);
    expect(response.headers.get('api-version')).toBe('1');
  });

  it.each([[{ format: 'pdf' }], [{}], [{ format: 'json', x: 1 }]])('refuses %j', async (body) => {
    expect(await bench.client.call('POST', `/api/chat/export/${session}`, body)).toMatchObject({ status: 400, body: { error: { code: 'VALIDATION_FAILED' } } });
  });
});

describe('input that is not valid', () => {
  it.each([
    ['GET', '/api/models/search?limit=0', undefined, ['limit']],
    ['GET', '/api/models/search?limit=101&order=up&sort=best&format=zip', undefined, ['format', 'limit', 'order', 'sort']],
    ['GET', '/api/models/search?query=x', undefined, ['query']],
    ['GET', '/api/downloads/list?model_id=..%2f..', undefined, ['model_id']],
    ['GET', '/api/downloads/list?status=RUNNING', undefined, ['status']],
    ['GET', `/api/downloads/${task}/status?verbose=1`, undefined, ['verbose']],
    ['POST', '/api/downloads/start', {}, ['model_id']],
    ['POST', '/api/downloads/start', { model_id: 'a/b', priority: 101 }, ['priority']],
    ['POST', '/api/downloads/start', { model_id: 'a/b', max_bytes_per_second: 3 }, ['max_bytes_per_second']],
    ['POST', '/api/downloads/start', { modelId: 'a/b' }, ['modelId', 'model_id']],
    ['PUT', `/api/downloads/${task}/pause`, { why: 'x' }, ['why']],
    ['DELETE', `/api/downloads/${task}?delete_files=yes`, undefined, ['delete_files']],
    ['POST', '/api/deployments/start', { model_id: 'a/b', config: { parallel: 257 } }, ['config.parallel']],
    ['POST', '/api/deployments/start', { model_id: 'a/b', config: { restart: { max_retries: -1 } } }, ['config.restart.max_retries']],
    ['GET', `/api/deployments/${deployment}/logs?level=fatal`, undefined, ['level']],
    ['GET', `/api/deployments/${deployment}/logs?follow=true&cursor=x&until=2026-01-01T00:00:00Z`, undefined, ['cursor', 'until']],
    ['POST', '/api/chat/sessions/create', { deployment_id: deployment, deployment_ids: [deployment] }, ['deployment_id']],
    ['POST', '/api/chat/send', { message: 'hi', deployment_ids: [] }, ['deployment_ids']],
    ['POST', '/api/chat/send', { session_id: session, message: 'hi', parameters: { temperature: 3 } }, ['parameters.temperature']],
    ['POST', '/api/chat/send', { session_id: session, message: '' }, ['message']],
    ['GET', `/api/chat/history/${session}?limit=1.5`, undefined, ['limit']],
  ])('%s %s %j is refused, each field named', async (method, path, body, fields) => {
    const answer = await bench.client.call(method, path, body);
    expect(answer).toMatchObject({ status: 400, body: { error: { code: 'VALIDATION_FAILED' } } });
    expectExactly(errorBody, answer.body);
    const { details } = answer.body['error'] as { details: { fields: { field: string; message: string }[] } };
    expect(details.fields.map(({ field }) => field).sort()).toEqual([...fields].sort());
  });

  it.each([
    ['GET', '/api/downloads/not-an-id/status', 'DOWNLOAD_NOT_FOUND'],
    ['PUT', '/api/downloads/01900000-0000-7000-8001-0000000000ff/pause', 'DOWNLOAD_NOT_FOUND'],
    ['DELETE', '/api/downloads/%00', 'DOWNLOAD_NOT_FOUND'],
    ['GET', '/api/deployments/1/status', 'DEPLOYMENT_NOT_FOUND'],
    ['GET', '/api/deployments/1/logs?follow=true', 'DEPLOYMENT_NOT_FOUND'],
    ['PUT', `/api/deployments/${session}/stop`, 'DEPLOYMENT_NOT_FOUND'],
    ['GET', '/api/chat/history/nope', 'CHAT_SESSION_NOT_FOUND'],
    ['DELETE', '/api/chat/sessions/nope', 'CHAT_SESSION_NOT_FOUND'],
    ['GET', '/api/models/huggingface:acme/none/info', 'MODEL_NOT_FOUND'],
    ['GET', '/api/models/..%2f..%2fetc%2fpasswd/info', 'MODEL_NOT_FOUND'],
  ])('%s %s is not found: %s', async (method, path, code) => {
    expect(await bench.client.call(method, path)).toMatchObject({ status: 404, body: { error: { code } } });
  });
});
