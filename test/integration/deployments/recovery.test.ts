import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Deployment } from '../../../src/domains/deployments/deployment.entity.ts';
import { createLlamaCppRuntime } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import { startChildProgram, type ChildProgram } from '../../support/child-program.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, isAlive, never, operator, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { eventually } from '../../support/eventually.ts';
import { installedTiny } from '../../support/installed-tiny.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { createSmallEngineRuntime } from '../../support/small-engine-runtime.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

const program = join(process.cwd(), 'test', 'support', 'programs', 'deployments-service.ts');
let database: TestDatabase;
let folder: string;
let bench: DeploymentsBench;
let services: ChildProgram[];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'llmm-recovery-'));
  await writeFile(join(folder, 'tiny.gguf'), buildTinyGguf());
});
afterAll(async () => {
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  services = [];
  database = await createTestDatabase();
  const runtimes = [createLlamaCppRuntime({ http: plainHttp }), createSmallEngineRuntime()];
  bench = await createDeploymentsBench({ em: database.em(), runtimes, installed: [installedTiny(folder)], logDir: join(folder, 'logs') });
});
afterEach(async () => {
  await Promise.all(services.map((service) => service.kill('SIGKILL')));
  await bench.close();
  await database.drop();
});

/** Another service process on the same database, with one deployment that runs. */
async function serviceWith(runtime: 'small' | 'llama-cpp'): Promise<{ service: ChildProgram; id: string; pid: number }> {
  const service = startChildProgram(program, [database.url, join(folder, 'logs'), runtime, folder]);
  services.push(service);
  const { id } = (await service.nextLine()) as { id: string };
  const row = await database.em().findOneOrFail(Deployment, { id });
  return { service, id, pid: row.handle?.pid ?? 0 };
}

describe('after kill -9 of the service', () => {
  it('ends an engine that outlived it and runs a new one, once', async () => {
    const { service, id, pid } = await serviceWith('small');
    await service.kill('SIGKILL');
    expect(isAlive(pid)).toBe(true);
    await bench.start(never);
    expect(isAlive(pid)).toBe(false);
    const view = await bench.reaches(id, 'running');
    expect(view).toMatchObject({ runs: 2, desiredStatus: 'running' });
    expect((await fetch(`${view.endpoint ?? ''}/health`)).status).toBe(200);
    const lines = (await bench.deployments.logs(id, { limit: 100 }, never)).items;
    expect(new Set(lines.map((line) => line.run))).toEqual(new Set([1, 2]));
  });

  it('brings a real engine back, which had ended by itself', async () => {
    const { service, id, pid } = await serviceWith('llama-cpp');
    await service.kill('SIGKILL');
    await eventually('the engine noticed', () => !isAlive(pid));
    await bench.start(never);
    const view = await eventually('it runs', async () => {
      const found = await bench.deployments.get(id);
      return found.status === 'running' ? found : null;
    }, 20_000);
    const target = await bench.deployments.target(id, never);
    const answer = await fetch(`${target.baseUrl}/v1/chat/completions`, {
      method: 'POST',
      headers: { ...target.headers, 'content-type': 'application/json' },
      body: JSON.stringify({ model: target.model, messages: [{ role: 'user', content: 'Hi' }] }),
    });
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: expect.stringContaining('Once upon a time') } }] });
    expect(view.runs).toBe(2);
  });

  it('leaves stopped what was to be stopped, with no process left', async () => {
    const { service, id, pid } = await serviceWith('small');
    await service.kill('SIGKILL');
    await database.em().nativeUpdate(Deployment, { id }, { desiredStatus: 'stopped', status: 'stopping' });
    await bench.start(never);
    expect(isAlive(pid)).toBe(false);
    expect(await bench.reaches(id, 'stopped')).toMatchObject({ desiredStatus: 'stopped', endpoint: null });
  });

  it('never touches a stranger who has got the pid of an engine', async () => {
    const { service, id, pid } = await serviceWith('small');
    await service.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    const handle = { runtime: 'small', pid: process.pid, startTime: 'another boot:1', containerId: null };
    await database.em().nativeUpdate(Deployment, { id }, { handle });
    await bench.start(never);
    await bench.reaches(id, 'running');
  });
});

it('ends every engine with the service and brings them back with the next one', async () => {
  const begin = (): Promise<{ id: string }> => bench.deployments.start({ runtime: 'small', override: [] }, operator, never);
  const [one, two, three] = [await begin(), await begin(), await begin()];
  for (const { id } of [one, two, three]) await bench.reaches(id, 'running');
  await bench.deployments.stop(three.id, never);
  await bench.reaches(three.id, 'stopped');
  const pids = (await database.em().find(Deployment, { status: 'running' })).map((row) => row.handle?.pid ?? 0);
  expect(pids).toHaveLength(2);
  await bench.stop(AbortSignal.timeout(5_000));
  expect(pids.filter(isAlive)).toEqual([]);
  expect(await bench.deployments.get(one.id)).toMatchObject({ status: 'stopped', desiredStatus: 'running' });
  await expect(begin()).rejects.toMatchObject({ code: 'SHUTTING_DOWN' });

  const next = await createDeploymentsBench({ em: database.em(), runtimes: [createSmallEngineRuntime()] });
  await next.start(never);
  for (const { id } of [one, two]) await next.reaches(id, 'running');
  expect((await next.deployments.get(three.id)).status).toBe('stopped');
  await next.close();
});

it('ends running answers when the time for stopping is over', async () => {
  const { id } = await bench.deployments.start({ runtime: 'small', override: [] }, operator, never);
  const { endpoint } = await bench.reaches(id, 'running');
  const answer = await fetch(`${endpoint ?? ''}/slow`);
  const deadline = new AbortController();
  const stopping = bench.stop(deadline.signal);
  await eventually('it drains', async () => (await bench.deployments.logs(id, { limit: 100, search: 'draining' }, never)).items.length > 0);
  deadline.abort();
  await stopping;
  await expect(answer.text()).rejects.toThrow();
  expect((await bench.deployments.get(id)).status).toBe('stopped');
});
