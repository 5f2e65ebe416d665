import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { createOllamaRuntime } from '../../../src/domains/deployments/runtimes/ollama/ollama.runtime.ts';
import { createStreamingHttp } from '../../../src/infrastructure/http/streaming-http.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, never, operator, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { Society } from '../../support/instances.ts';
import { createOllamaDaemon, type OllamaDaemon } from '../../support/ollama/daemon.ts';

const http = createStreamingHttp();
let database: TestDatabase;
let daemon: OllamaDaemon;
let there: DeploymentsBench;
let here: DeploymentsBench;

beforeAll(async () => {
  database = await createTestDatabase();
});
beforeEach(async () => {
  daemon = await createOllamaDaemon({ models: [{ name: 'smollm2:135m', size: 98_000_000, contextLength: 2048 }] });
  const society = new Society();
  const open = async (logDir?: string): Promise<DeploymentsBench> => {
    const runtimes = [createOllamaRuntime({ host: daemon.endpoint, http: http.request, fetch: http.fetch })];
    const bench = await createDeploymentsBench({ em: database.em(), runtimes, instances: society.join(), ...(logDir === undefined ? {} : { logDir }) });
    await bench.start(never);
    return bench;
  };
  there = await open();
  here = await open(there.logDir);
});
afterEach(async () => {
  await Promise.all([here.close(), there.close()]);
  await daemon.close();
});
afterAll(async () => {
  await http.close();
  await database.drop();
});

it('asks an Ollama model that another service process has loaded as that process does: by its own route, with the same options', async () => {
  const { id } = await there.deployments.start({ modelId: 'ollama:smollm2:135m', runtime: 'ollama', override: [] }, operator, never);
  await there.reaches(id, 'running');
  const asked: unknown[] = [];
  for (const { deployments } of [there, here]) {
    const target = await deployments.target(id, never);
    const body = JSON.stringify({ model: target.model, messages: [{ role: 'user', content: 'Hi' }] });
    const answer = await (target.http ?? http.request)({ method: 'POST', url: `${target.baseUrl}/v1/chat/completions`, headers: { 'content-type': 'application/json' }, body }, never);
    expect(answer.status).toBe(200);
    for await (const chunk of answer.body) expect(chunk.length).toBeGreaterThan(0);
    asked.push(daemon.state.runners.get('smollm2:135m')?.contextLength);
  }
  expect(asked).toEqual([2048, 2048]);
  expect(daemon.requests.matching(/\/v1\//)).toEqual([]);
  // One of them is the loading.
  expect(daemon.requests.matching(/\/api\/chat/)).toHaveLength(3);
});
