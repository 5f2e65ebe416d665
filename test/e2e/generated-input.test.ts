import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { fuzzGraphql } from '../integration/graphql/fuzz.ts';
import { fuzzRest } from '../integration/rest/fuzz.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { bufferContent } from '../support/hub/content.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { processesNaming } from '../support/processes.ts';
import { RestClient } from '../support/rest-client.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

const modelIds = ['huggingface:tiny/story-GGUF'];

describe('generated input against the whole service', () => {
  let hub: Hub;
  let folder: TemporaryFolder;
  let service: ServiceProcess;
  let ids: string[];

  beforeAll(async () => {
    hub = await createHub({ repos: [{ id: 'tiny/story-GGUF', files: [{ path: 'story-F32.gguf', content: bufferContent(buildTinyGguf({ mode: 'story' })) }] }] });
    folder = await createTemporaryFolder('fuzz');
    service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint, LLM_MANAGER_LOG_LEVEL: 'error' } });
    const api = new RestClient(service.url, service.key);
    const task = await api.expect(201, 'task', { method: 'POST', path: '/api/downloads/start', body: { model_id: modelIds[0] } });
    const session = await api.expect(201, 'session', { method: 'POST', path: '/api/chat/sessions/create', body: {} });
    ids = [String(task['task_id']), String(session['session_id'])];
  }, 90_000);

  afterAll(async () => {
    if (service.isAlive()) await service.end('SIGTERM');
    for (const { pid } of await processesNaming(folder.path)) process.kill(pid, 'SIGKILL');
    await hub.close();
    await folder.remove();
  });

  it('is answered by every REST route as the document says, never with a fault of ours', async () => {
    await fuzzRest({ url: service.url, key: service.key, runs: 700, ids, modelIds });
  }, 120_000);

  it('is answered by every GraphQL query and mutation with data or a code of the list, never with a fault of ours', async () => {
    await fuzzGraphql({ url: service.url, key: service.key, runs: 500, ids, modelIds });
  }, 120_000);

  it('leaves the service ready, and nothing in its log that it did not foresee', async () => {
    expect((await fetch(`${service.url}/ready`)).status).toBe(200);
    expect(service.output().split('\n').filter((line) => line.includes('"level":50'))).toEqual([]);
  });
});
