import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Deployment } from '../../../src/domains/deployments/deployment.entity.ts';
import { createLlamaCppRuntime } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import { startChildProgram, type ChildProgram } from '../../support/child-program.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, never, operator, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { isAlive } from '../../support/processes.ts';
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
const engines: number[] = [];

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
  // An engine that a failed test has left behind.
  for (const pid of engines.splice(0)) if (isAlive(pid)) process.kill(-pid, 'SIGKILL');
  await database.drop();
});

/** Another service process on the same database, with one deployment of each runtime that runs. */
async function serviceWith(...runtimes: readonly ('small' | 'llama-cpp')[]): Promise<{ service: ChildProgram; ids: string[]; pids: number[] }> {
  const service = startChildProgram(program, [database.url, join(folder, 'logs'), runtimes.join(','), folder]);
  services.push(service);
  const { ids } = (await service.nextLine()) as { ids: string[] };
  const pids = await pidsOf(ids);
  engines.push(...pids);
  return { service, ids, pids };
}

async function pidsOf(ids: readonly string[]): Promise<number[]> {
  const rows = await database.em().find(Deployment, { id: { $in: [...ids] } });
  return ids.map((id) => rows.find((row) => row.id === id)?.handle?.pid ?? 0);
}

async function ask(id: string): Promise<unknown> {
  const target = await bench.deployments.target(id, never);
  const answer = await fetch(`${target.baseUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...target.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ model: target.model, messages: [{ role: 'user', content: 'Hi' }] }),
  });
  return await answer.json();
}

const story = { choices: [{ message: { content: expect.stringContaining('Once upon a time') } }] };

describe('after kill -9 of the service', () => {
  it('takes over the same engine processes, their answers and their logs; none is left over and none runs twice', async () => {
    const { service, ids, pids } = await serviceWith('llama-cpp', 'llama-cpp', 'small');
    const before = await Promise.all(ids.map((id) => database.em().findOneOrFail(Deployment, { id })));
    await service.kill('SIGKILL');
    await bench.start(never);
    for (const id of ids) await eventually(`${id} is taken over`, async () => (await bench.deployments.logs(id, { limit: 100, search: 'Taken over' }, never)).items.length === 1);
    expect(await pidsOf(ids)).toEqual(pids);
    expect(pids.filter(isAlive)).toEqual(pids);
    for (const [index, id] of ids.entries()) {
      const row = before[index];
      expect(await bench.deployments.get(id)).toMatchObject({ status: 'running', runs: 1, restarts: 0, endpoint: row?.endpoint, startedAt: row?.startedAt, health: { status: 'healthy' } });
    }
    for (const id of ids.slice(0, 2)) expect(await ask(id)).toMatchObject(story);
    const lines = (await bench.deployments.logs(ids[0] ?? '', { limit: 100 }, never)).items;
    const ofEngine = lines.filter(({ message }) => message.startsWith('Ready on port') || message.startsWith('Answered:'));
    expect(ofEngine.map(({ run, message }) => [run, message.slice(0, 5)])).toEqual([[1, 'Ready'], [1, 'Answe']]);

    await bench.stop(AbortSignal.timeout(10_000));
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it('notices when an engine that it took over ends, and starts a new one', async () => {
    const { service, ids: [id = ''], pids: [pid = 0] } = await serviceWith('llama-cpp');
    await service.kill('SIGKILL');
    await bench.start(never);
    const { lost } = await bench.deployments.target(id, never);
    process.kill(pid, 'SIGKILL');
    await eventually('the loss is told', () => lost.aborted);
    await eventually('it runs again', async () => (await bench.deployments.get(id)).runs === 2 && (await bench.deployments.get(id)).status === 'running', 20_000);
    expect(await ask(id)).toMatchObject(story);
  });

  it('starts a new engine where the old one has ended meanwhile or does not answer to its secret', async () => {
    const { service, ids, pids } = await serviceWith('llama-cpp', 'llama-cpp');
    await service.kill('SIGKILL');
    const [dead = 0, strange = 0] = pids;
    process.kill(dead, 'SIGKILL');
    const keepsake = { ...(await database.em().findOneOrFail(Deployment, { id: ids[1] ?? '' }, { populate: ['keepsake'] })).keepsake, secret: 'another' };
    await database.em().nativeUpdate(Deployment, { id: ids[1] ?? '' }, { keepsake });
    await bench.start(never);
    for (const id of ids) await eventually('it runs anew', async () => (await bench.deployments.get(id)).runs === 2 && (await bench.deployments.get(id)).status === 'running', 20_000);
    expect([dead, strange].filter(isAlive)).toEqual([]);
    for (const id of ids) expect(await ask(id)).toMatchObject(story);
  });

  it('leaves stopped what was to be stopped, with no process left', async () => {
    const { service, ids: [id = ''], pids: [pid = 0] } = await serviceWith('small');
    await service.kill('SIGKILL');
    await database.em().nativeUpdate(Deployment, { id }, { desiredStatus: 'stopped', status: 'stopping' });
    await bench.start(never);
    expect(isAlive(pid)).toBe(false);
    expect(await bench.reaches(id, 'stopped')).toMatchObject({ desiredStatus: 'stopped', endpoint: null });
  });

  it('ends an engine that was still starting, and starts a new one', async () => {
    const { service, ids: [id = ''], pids: [pid = 0] } = await serviceWith('small');
    await service.kill('SIGKILL');
    await database.em().nativeUpdate(Deployment, { id }, { status: 'starting' });
    await bench.start(never);
    expect(isAlive(pid)).toBe(false);
    expect(await bench.reaches(id, 'running')).toMatchObject({ runs: 2 });
  });

  it('never touches a stranger who has got the pid of an engine', async () => {
    const { service, ids: [id = ''], pids: [pid = 0] } = await serviceWith('small');
    await service.kill('SIGKILL');
    process.kill(pid, 'SIGKILL');
    const handle = { runtime: 'small', pid: process.pid, startTime: 'another boot:1', containerId: null };
    await database.em().nativeUpdate(Deployment, { id }, { handle });
    await bench.start(never);
    await eventually('it runs anew', async () => (await bench.deployments.get(id)).runs === 2);
    await bench.reaches(id, 'running');
  });
});

it('leaves engines running when it ends and was told to keep them, and the next service takes them over', async () => {
  const { service, ids, pids } = await serviceWith('llama-cpp', 'small');
  service.process.stdin?.end('end\n');
  const [code] = (await once(service.process, 'exit')) as [number | null];
  expect(code).toBe(0);
  expect(pids.filter(isAlive)).toEqual(pids);
  expect((await database.em().find(Deployment, {})).map(({ status }) => status)).toEqual(['running', 'running']);
  await bench.start(never);
  for (const id of ids) await eventually(`${id} is taken over`, async () => (await bench.deployments.logs(id, { limit: 100, search: 'Taken over' }, never)).items.length === 1);
  expect(await pidsOf(ids)).toEqual(pids);
  expect(await ask(ids[0] ?? '')).toMatchObject(story);
  await bench.deployments.stop(ids[0] ?? '', never);
  await bench.reaches(ids[0] ?? '', 'stopped');
  expect(pids.map(isAlive)).toEqual([false, true]);
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
