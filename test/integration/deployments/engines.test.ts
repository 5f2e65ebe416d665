import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from '@jest/globals';
import { Deployment } from '../../../src/domains/deployments/deployment.entity.ts';
import { createLlamaCppRuntime } from '../../../src/domains/deployments/runtimes/llama-cpp/llama-cpp.runtime.ts';
import type { DeploymentView } from '../../../src/domains/deployments/types.ts';
import { isAppError } from '../../../src/shared/errors.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, never, operator, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { isAlive } from '../../support/processes.ts';
import { eventually } from '../../support/eventually.ts';
import { installedTiny } from '../../support/installed-tiny.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { createSmallEngineRuntime } from '../../support/small-engine-runtime.ts';
import { buildTinyGguf } from '../../support/tiny-gguf.ts';

let database: TestDatabase;
let folder: string;
let bench: DeploymentsBench;
const pids = new Set<number>();

beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), 'llmm-engines-'));
  await writeFile(join(folder, 'tiny.gguf'), buildTinyGguf({ mode: 'loop' }));
});
afterAll(async () => {
  await database.drop();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  bench = await createDeploymentsBench({ em: database.em(), runtimes: [createLlamaCppRuntime({ http: plainHttp }), createSmallEngineRuntime()], installed: [installedTiny(folder)] });
});
afterEach(async () => {
  await bench.close();
  expect([...pids].filter(isAlive)).toEqual([]);
});

async function begin(): Promise<DeploymentView> {
  const config = { threads: 1, gpuLayers: 0, contextSize: 2048, parallel: 1, health: { intervalSeconds: 60, timeoutSeconds: 0.2, failures: 1 } };
  const { id } = await bench.deployments.start({ modelId: installedTiny(folder).modelId, config, override: [] }, operator, never);
  return await bench.reaches(id, 'running');
}

async function pidOf(id: string): Promise<number> {
  const pid = (await database.em().findOneOrFail(Deployment, { id })).handle?.pid ?? 0;
  pids.add(pid);
  return pid;
}

async function runsAgain(id: string): Promise<DeploymentView> {
  const view = await eventually('it runs again', async () => {
    const found = await bench.deployments.get(id);
    return found.status === 'running' && found.runs === 2 ? found : null;
  });
  await pidOf(id);
  return view;
}

it('ends an answer in progress with the reason when its engine is killed, and runs a new one', async () => {
  const { id } = await begin();
  const pid = await pidOf(id);
  const target = await bench.deployments.target(id, never);
  const answer = await fetch(`${target.baseUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { ...target.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ model: target.model, stream: true, messages: [{ role: 'user', content: 'Hi' }] }),
    signal: target.lost,
  });
  const reading = answer.text();
  process.kill(pid, 'SIGKILL');
  await expect(reading).rejects.toThrow();
  await eventually('the loss is told', () => target.lost.aborted);
  expect(isAppError(target.lost.reason, 'CRASHED')).toBe(true);
  expect((await runsAgain(id)).lastExit).toMatchObject({ signal: 'SIGKILL', reason: expect.stringContaining('killed') });
  const use = (await bench.deployments.get(id)).resources;
  expect(use.memoryBytes).toBeGreaterThan(20_000_000);
  expect(await bench.uses()).toEqual([expect.objectContaining({ deploymentId: id, memoryBytes: expect.any(Number) })]);
});

it('kills and replaces an engine that stands still', async () => {
  const { id } = await begin();
  const pid = await pidOf(id);
  process.kill(pid, 'SIGSTOP');
  await bench.clock.passSleepOf(60_000);
  expect(await runsAgain(id)).toMatchObject({ restarts: 1, lastExit: { reason: expect.stringContaining('no answer within') } });
  expect(isAlive(pid)).toBe(false);
});

it('keeps the log of an engine that floods small, and stays answerable meanwhile', async () => {
  const { id } = await bench.deployments.start({ runtime: 'small', config: { environment: { MODE: 'flood' } }, override: [] }, operator, never);
  await bench.reaches(id, 'running');
  await pidOf(id);
  await eventually('the flood has been taken over', async () => {
    const { items } = await bench.deployments.logs(id, { limit: 1, tail: 1 }, never);
    bench.clock.advance(1);
    const outputs = await Promise.all((await readdir(join(bench.logDir, id))).filter((name) => name.endsWith('.out')).map((name) => stat(join(bench.logDir, id, name))));
    return items.length > 0 && outputs.every((output) => output.size < 8 * 1024 ** 2);
  });
  await bench.deployments.stop(id, never);
  await bench.reaches(id, 'stopped');
  const sizes = await Promise.all((await readdir(join(bench.logDir, id))).map(async (name) => (await stat(join(bench.logDir, id, name))).size));
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBeLessThan(6 * 1024 ** 2);
  const { items } = await bench.deployments.logs(id, { limit: 5, search: 'were left out' }, never);
  expect(items.length).toBeGreaterThan(0);
});

it('streams state and log to those who watch', async () => {
  const watched: string[] = [];
  const lines: string[] = [];
  const ended = new AbortController();
  const { id } = await bench.deployments.start({ runtime: 'small', override: [], name: 'watched' }, operator, never);
  const watching = (async () => {
    for await (const view of bench.deployments.watch(id, ended.signal)) watched.push(view.status);
  })();
  const following = (async () => {
    for await (const event of bench.deployments.followLogs(id, { since: new Date(0) }, ended.signal)) if (event.type === 'line') lines.push(event.line.message);
  })();
  await bench.reaches(id, 'running');
  await pidOf(id);
  await eventually('running was seen', () => watched.includes('running'));
  await bench.deployments.stop(id, never);
  await eventually('stopped was seen', () => watched.at(-1) === 'stopped');
  await eventually('the end was logged', () => lines.some((line) => line.startsWith('Ended')));
  ended.abort();
  await Promise.all([watching, following]);
  expect(lines[0]).toBe('Start 1 of watched with small engine.');
  expect(lines).toContain('info: ready');
});
