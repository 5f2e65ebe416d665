import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { enginesOf, isAlive, processesNaming } from '../support/processes.ts';
import { RestClient } from '../support/rest-client.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import { readSse } from '../support/sse.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

const modelId = 'huggingface:tiny/story-GGUF';

describe('the main job, from search to chat, with the service as a process', () => {
  let hub: Hub;
  let folder: TemporaryFolder;
  let service: ServiceProcess;
  let api: RestClient;

  beforeAll(async () => {
    hub = await createHub({
      repos: [{ id: 'tiny/story-GGUF', files: [{ path: 'story-F16.gguf', content: bufferContent(buildTinyGguf({ mode: 'story' })) }, { path: 'README.md', content: bufferContent(Buffer.from('# Story\n')) }] }],
    });
    folder = await createTemporaryFolder('e2e');
    service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint } });
    api = new RestClient(service.url, service.key);
  }, 90_000);

  afterAll(async () => {
    if (service.isAlive()) await service.end('SIGKILL');
    await hub.close();
    await folder.remove();
  });

  it('finds the model and says that it fits', async () => {
    const found = await api.call('GET', '/api/models/search?q=story&source=huggingface');
    expect(found.status).toBe(200);
    expect(found.body['items']).toMatchObject([{ id: modelId, source: 'huggingface', installed: false }]);
    const model = await api.expect(200, 'model', { method: 'GET', path: `/api/models/${modelId}/info` });
    expect(model).toMatchObject({ id: modelId, variants: [{ name: 'F16', recommended: true, fit: { verdict: 'fits' } }] });
  });

  it('downloads it, and has it complete and verified at the end', async () => {
    const task = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: modelId } });
    const done = await eventually('the download ends', async () => {
      const now = await api.expect(200, 'task', { method: 'GET', path: `/api/downloads/${String(task['task_id'])}/status` });
      return now['status'] === 'completed' || now['status'] === 'failed' ? now : null;
    }, 30_000);
    expect(done).toMatchObject({ status: 'completed', progress: 1, error: null });
  });

  it('runs it and streams its answer piece by piece, and stores what it said', async () => {
    const started = await api.expect(202, 'deployment', { method: 'POST', path: '/api/deployments/start', body: { model_id: modelId, name: 'story', config: { threads: 1, context_size: 512 } } });
    const id = String(started['deployment_id']);
    await eventually('the deployment runs', async () => ((await api.expect(200, 'deployment', { method: 'GET', path: `/api/deployments/${id}/status` }))['status'] === 'running' ? true : null), 30_000);

    const response = await api.raw('POST', '/api/chat/send', { deployment_id: id, message: 'Tell me a story', stream: true });
    expect(response.status).toBe(200);
    const events = [];
    for await (const { data } of readSse(response)) events.push(JSON.parse(data) as Record<string, unknown>);
    const tokens = events.filter(({ type }) => type === 'token');
    // Tokens that come together are one piece, and this model is quick.
    expect(tokens.length).toBeGreaterThan(0);
    expect(tokens.map(({ index }) => index)).toEqual(tokens.map((_token, index) => index));
    const end = events.at(-1);
    expect(end).toMatchObject({ type: 'end', finish_reason: 'stop', index: tokens.length - 1 });
    expect((end?.['usage'] as { completion_tokens: number }).completion_tokens).toBeGreaterThan(5);

    const message = await messageOf(String(end?.['message_id']));
    expect(message).toMatchObject({ status: 'completed', content: tokens.map(({ text }) => String(text)).join('') });
  });

  async function messageOf(messageId: string): Promise<Record<string, unknown> | undefined> {
    const query = 'query ($id: ID!) { node(id: $id) { ... on ChatMessage { sessionId } } }';
    const answer = await fetch(`${service.url}/graphql`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${service.key}` },
      body: JSON.stringify({ query, variables: { id: Buffer.from(`ChatMessage:${messageId}`).toString('base64') } }),
    });
    const { data } = (await answer.json()) as { data: { node: { sessionId: string } } };
    const history = await api.call('GET', `/api/chat/history/${data.node.sessionId}`);
    return (history.body['items'] as Record<string, unknown>[]).find(({ message_id }) => message_id === messageId);
  }

  it('leaves no process behind when it is told to end', async () => {
    const deployments = await api.call('GET', '/api/deployments/list');
    expect(deployments.body['items']).toHaveLength(1);
    const engines = await enginesOf(service.pid);
    expect(engines).toHaveLength(1);
    const { code } = await service.end('SIGTERM');
    expect(code).toBe(0);
    expect(engines.filter(isAlive)).toEqual([]);
    expect(await processesNaming(folder.path)).toEqual([]);
  });
});
