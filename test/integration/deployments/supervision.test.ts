import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Deployment } from '../../../src/domains/deployments/deployment.entity.ts';
import type { DeploymentConfig, DeploymentView } from '../../../src/domains/deployments/types.ts';
import { stopCauseOf } from '../../../src/shared/abort.ts';
import { isAppError } from '../../../src/shared/errors.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, never, operator, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { letItOvertakeItsStart } from '../../support/overtaken-start.ts';
import { isAlive } from '../../support/processes.ts';
import { eventually } from '../../support/eventually.ts';
import { createSmallEngineRuntime, type SmallEngineRuntime } from '../../support/small-engine-runtime.ts';

let database: TestDatabase;
let runtime: SmallEngineRuntime;
let bench: DeploymentsBench;

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});
beforeEach(async () => {
  runtime = createSmallEngineRuntime();
  bench = await createDeploymentsBench({ em: database.em(), runtimes: [runtime], config: { startTimeoutMs: 20_000, drainMs: 20_000 } });
});
afterEach(async () => {
  await bench.close();
  expect(runtime.pids.filter(isAlive)).toEqual([]);
});

function begin(config: DeploymentConfig = {}, name?: string): Promise<DeploymentView> {
  return bench.deployments.start({ runtime: 'small', config, override: [], ...(name ? { name } : {}) }, operator, never);
}

async function statesOf(id: string): Promise<string[]> {
  const { items } = await bench.deployments.events(id, { limit: 100 });
  return items.map((event) => event.toStatus).reverse();
}

describe('starting and stopping', () => {
  it('answers at once with the wish recorded, then runs, stops and starts again', async () => {
    const asked = await begin();
    expect(asked).toMatchObject({ desiredStatus: 'running', restarts: 0, createdAt: expect.any(Date) });
    const running = await bench.reaches(asked.id, 'running');
    expect(running).toMatchObject({ endpoint: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), runs: 1, error: null, health: { status: 'healthy' } });
    expect((await fetch(`${running.endpoint ?? ''}/health`)).status).toBe(200);

    const stopping = await bench.deployments.stop(asked.id, never);
    expect(stopping.desiredStatus).toBe('stopped');
    const stopped = await bench.reaches(asked.id, 'stopped');
    expect(stopped).toMatchObject({ endpoint: null, health: { status: 'unknown' } });
    expect(runtime.pids.filter(isAlive)).toEqual([]);
    expect((await bench.deployments.stop(asked.id, never)).status).toBe('stopped');

    await bench.deployments.start({ deploymentId: asked.id, override: [] }, operator, never);
    expect((await bench.reaches(asked.id, 'running')).runs).toBe(2);
    expect(await statesOf(asked.id)).toEqual(['pending', 'starting', 'running', 'stopping', 'stopped', 'pending', 'starting', 'running']);
  });

  it('makes no further one beside a thousand, and starts one of those again all the same', async () => {
    const { id } = await begin();
    await bench.reaches(id, 'running');
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
    const copies = "select (jsonb_populate_record(d, jsonb_build_object('id', gen_random_uuid(), 'name', 'copy-' || n))).* from deployments d, generate_series(1, 999) n";
    const sql = database.em().getConnection();
    await sql.execute(`insert into deployments ${copies} where d.id = '${id}'`);
    try {
      await expect(begin()).rejects.toMatchObject({ code: 'OVERLOADED', retryAfterSeconds: 60 });
      await bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
      await bench.reaches(id, 'running');
    } finally {
      await sql.execute("delete from deployments where name like 'copy-%'");
    }
  });

  it('starts nothing more when it is asked to start what runs', async () => {
    const { id } = await begin();
    await bench.reaches(id, 'running');
    expect((await bench.deployments.start({ deploymentId: id, override: [] }, operator, never)).status).toBe('running');
    expect(runtime.pids).toHaveLength(1);
  });

  it('gives up a start that never gets ready when it is stopped', async () => {
    const { id } = await begin({ environment: { MODE: 'never-ready' } });
    await eventually('the engine exists', () => runtime.pids.length === 1);
    await bench.reaches(id, 'starting');
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
    expect(runtime.pids.filter(isAlive)).toEqual([]);
  });

  it('ends running again when a start follows a stop before the engine has ended', async () => {
    const { id } = await begin();
    await bench.reaches(id, 'running');
    await bench.deployments.stop(id, never);
    await bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
    const running = await bench.reaches(id, 'running');
    expect(running).toMatchObject({ runs: 2, desiredStatus: 'running' });
    expect(runtime.pids.filter(isAlive)).toHaveLength(1);
  });

  it('lets a running answer end before it stops, and refuses new ones meanwhile', async () => {
    const { id } = await begin();
    const { endpoint } = await bench.reaches(id, 'running');
    const target = await bench.deployments.target(id, never);
    const answer = await fetch(`${endpoint ?? ''}/slow`);
    const text = answer.text();
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopping');
    await expect(bench.deployments.target(id, never)).rejects.toMatchObject({ code: 'INVALID_STATE', details: { status: 'stopping' } });
    expect(target.lost.aborted).toBe(false);
    process.kill(runtime.pids[0]!, 'SIGUSR2');
    expect(await text).toBe('begun done');
    await bench.reaches(id, 'stopped');
    expect(stopCauseOf(target.lost.reason)).toBe('stopped');
  });

  it('restarts with a new process and the curve begun anew', async () => {
    const { id } = await begin();
    const before = await bench.reaches(id, 'running');
    const asked = await bench.deployments.restart(id, operator, never);
    expect(asked.desiredStatus).toBe('running');
    const after = await eventually('it runs again', async () => {
      const view = await bench.deployments.get(id);
      return view.status === 'running' && view.runs === 2 ? view : null;
    });
    expect(after.endpoint).not.toBe(before.endpoint);
    expect(after.restarts).toBe(0);
    expect(runtime.pids.filter(isAlive)).toHaveLength(1);
  });

  it('leaves no engine without a deployment when it is started at the moment in which it is removed', async () => {
    for (let round = 0; round < 8; round += 1) {
      const { id } = await begin();
      if (round % 2 === 0) await bench.reaches(id, 'running');
      const again = (): Promise<unknown> => bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
      const removals = [bench.deployments.delete(id, never), bench.deployments.delete(id, never)];
      const ways = [...removals, again(), bench.deployments.restart(id, operator, never), again(), Promise.any(removals).then(again)];
      const [first, second, ...starts] = await Promise.allSettled(ways);
      expect([first?.status, second?.status]).toContain('fulfilled');
      for (const way of [first, second, ...starts]) if (way?.status === 'rejected') expect(way.reason).toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
      expect(await bench.deployments.find(id)).toBeNull();
      expect(runtime.pids.filter(isAlive)).toEqual([]);
    }
  });

  it('removes a deployment with its process and its log', async () => {
    const { id } = await begin();
    await bench.reaches(id, 'running');
    const seen: (string | undefined)[] = [];
    const watching = (async () => {
      for await (const view of bench.deployments.watch(id, never)) seen.push(view.status);
    })();
    await eventually('it is watched', () => seen.length > 0);
    await bench.deployments.delete(id, never);
    await watching;
    expect(await bench.deployments.find(id)).toBeNull();
    expect(runtime.pids.filter(isAlive)).toEqual([]);
    await expect(bench.deployments.logs(id, { limit: 10 }, never)).rejects.toMatchObject({ code: 'DEPLOYMENT_NOT_FOUND' });
  });
});

describe('faults', () => {
  it('starts an engine again that was killed, and tells who used it', async () => {
    const { id } = await begin();
    await bench.reaches(id, 'running');
    const { lost } = await bench.deployments.target(id, never);
    process.kill(runtime.pids[0]!, 'SIGKILL');
    const again = await eventually('it runs again', async () => {
      const view = await bench.deployments.get(id);
      return view.status === 'running' && view.runs === 2 ? view : null;
    });
    expect(again).toMatchObject({ restarts: 1, lastExit: { signal: 'SIGKILL' } });
    expect(isAppError(lost.reason, 'CRASHED')).toBe(true);
    expect((await bench.deployments.target(id, never)).lost.aborted).toBe(false);
  });

  it('begins the curve anew for whoever starts it in the moment in which it has failed', async () => {
    const { id } = await begin({ environment: { MODE: 'refuse-once', HANG_FILE: join(bench.logDir, 'refused') }, restart: { policy: 'never' } });
    const leaving = new AbortController();
    for await (const { status } of bench.deployments.watch(id, leaving.signal)) if (status === 'failed') break;
    const again = await bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
    expect(again).toMatchObject({ desiredStatus: 'running', restarts: 0, error: null });
    expect(again.status).not.toBe('failed');
    leaving.abort();
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
  });

  it('tries after 0, 10, 20, 40 and 80 s, then fails with the last lines and a way back', async () => {
    const { id } = await begin({ environment: { MODE: 'refuse' } });
    for (const seconds of [10, 20, 40, 80]) await bench.clock.passSleepOf(seconds * 1000);
    const failed = await bench.reaches(id, 'failed');
    expect(failed).toMatchObject({ runs: 6, restarts: 5, error: { code: 'START_FAILED', message: expect.stringContaining('error: cannot load the weights') }, desiredStatus: 'running' });
    expect(failed.error?.message).toMatch(/^It failed 6 times within 10 minutes/);
    await expect(bench.deployments.target(id, never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
    const again = await bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
    expect(again).toMatchObject({ restarts: 0, error: null });
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
  });

  it('gives whoever starts a failed deployment all tries anew, also where it goes on before that start is written', async () => {
    const { id } = await begin({ environment: { MODE: 'refuse' } });
    const end = letItOvertakeItsStart();
    try {
      for (const seconds of [10, 20, 40, 80]) await bench.clock.passSleepOf(seconds * 1000);
      await bench.reaches(id, 'failed');
      await bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
      await eventually('it waits for the third try, as after two failures', () => bench.clock.sleeps().includes(10_000));
      expect(await bench.deployments.get(id)).toMatchObject({ runs: 8, restarts: 2 });
    } finally {
      end();
    }
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
  });

  it('tries at once when an operator starts it while it waits', async () => {
    const { id } = await begin({ environment: { MODE: 'refuse' } });
    await eventually('it waits', () => bench.clock.sleeps().includes(10_000));
    expect((await bench.deployments.get(id)).runs).toBe(2);
    await bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
    await eventually('it was started twice more', async () => (await bench.deployments.get(id)).runs === 4);
    await bench.deployments.stop(id, never);
    await bench.reaches(id, 'stopped');
  });

  it('stops while it waits for the next try', async () => {
    const { id } = await begin({ environment: { MODE: 'refuse' } });
    await eventually('it waits', () => bench.clock.sleeps().includes(10_000));
    await bench.deployments.stop(id, never);
    expect(await bench.reaches(id, 'stopped')).toMatchObject({ desiredStatus: 'stopped' });
    expect(bench.clock.sleeps()).toEqual([]);
  });

  it('forgets earlier failures after ten healthy minutes', async () => {
    const { id } = await begin();
    for (let run = 1; run <= 2; run += 1) {
      const view = await bench.reaches(id, 'running');
      await fetch(`${view.endpoint ?? ''}/crash`).catch(() => undefined);
      await eventually('the end was noticed', async () => (await bench.deployments.get(id)).status !== 'running');
      if (run === 2) await bench.clock.passSleepOf(10_000);
    }
    await bench.reaches(id, 'running');
    const failures = async (): Promise<number> => (await database.em().findOneOrFail(Deployment, { id })).recentFailures.length;
    expect(await failures()).toBe(2);
    await bench.clock.passSleepOf(600_000);
    await eventually('the failures are forgotten', async () => (await failures()) === 0);
  });

  it('ends with the engine when the policy says so', async () => {
    const once = await begin({ restart: { policy: 'never' } });
    await bench.reaches(once.id, 'running');
    process.kill(runtime.pids[0]!, 'SIGKILL');
    expect(await bench.reaches(once.id, 'failed')).toMatchObject({ error: { code: 'CRASHED' }, restarts: 0 });

    const willing = await begin({ restart: { policy: 'on_failure' } });
    const { endpoint } = await bench.reaches(willing.id, 'running');
    await fetch(`${endpoint ?? ''}/end`).catch(() => undefined);
    expect(await bench.reaches(willing.id, 'stopped')).toMatchObject({ desiredStatus: 'stopped', error: null, lastExit: { code: 0 } });
  });

  it('restarts an engine that accepts and never answers', async () => {
    const hangFile = join(bench.logDir, 'hang');
    const { id } = await begin({ environment: { HANG_FILE: hangFile }, health: { intervalSeconds: 30, timeoutSeconds: 0.1, failures: 3 } });
    await bench.reaches(id, 'running');
    const { lost } = await bench.deployments.target(id, never);
    await writeFile(hangFile, '');
    await bench.clock.passSleepOf(30_000);
    await bench.clock.passSleepOf(3_000);
    await bench.clock.passSleepOf(3_000);
    await eventually('the engine is lost', () => lost.aborted);
    await rm(hangFile);
    const again = await eventually('it runs again', async () => {
      const view = await bench.deployments.get(id);
      return view.status === 'running' && view.runs === 2 ? view : null;
    });
    expect(again).toMatchObject({ restarts: 1, lastExit: { reason: expect.stringContaining('health checks') } });
    expect(isAppError(lost.reason, 'UNHEALTHY')).toBe(true);
    expect(await statesOf(id)).toEqual(['pending', 'starting', 'running', 'unhealthy', 'restarting', 'starting', 'running']);
    expect(runtime.pids.filter(isAlive)).toHaveLength(1);
  });

  it('restarts an engine that passes its checks and generates nothing, as soon as no real answer succeeds any more', async () => {
    const { id } = await begin({ environment: { MODE: 'mute' }, health: { intervalSeconds: 10, failures: 2, generationIntervalSeconds: 15 } });
    await bench.reaches(id, 'running');
    await bench.clock.passSleepOf(10_000);
    (await bench.deployments.ensureReady(id, never)).release('succeeded');
    const checkedAt = async (): Promise<number | undefined> => (await bench.deployments.get(id)).health.checkedAt?.getTime();
    // No probe at 20 s: an answer succeeded 10 s ago.
    await bench.clock.passSleepOf(10_000);
    await eventually('it is checked', async () => (await checkedAt()) === bench.clock.now().getTime());
    expect((await bench.deployments.get(id)).health).toMatchObject({ status: 'healthy', consecutiveFailures: 0 });
    await bench.clock.passSleepOf(10_000);
    await bench.clock.passSleepOf(1_000);
    const again = await eventually('it runs again', async () => {
      const view = await bench.deployments.get(id);
      return view.status === 'running' && view.runs === 2 ? view : null;
    });
    expect(again).toMatchObject({ restarts: 1, lastExit: { reason: expect.stringContaining('asked for one token it answered 500') } });
    const events = (await bench.deployments.events(id, { limit: 20 })).items.toReversed();
    expect(events.map(({ toStatus }) => toStatus)).toEqual(['pending', 'starting', 'running', 'unhealthy', 'restarting', 'starting', 'running']);
  });

  it('asks a healthy engine for a token now and then, and leaves it alone where that is not wanted', async () => {
    const probed = await begin({ health: { intervalSeconds: 10, failures: 1, generationIntervalSeconds: 10 } });
    const quiet = await begin({ environment: { MODE: 'mute' }, health: { intervalSeconds: 20, failures: 1 } });
    await Promise.all([bench.reaches(probed.id, 'running'), bench.reaches(quiet.id, 'running')]);
    const isChecked = (id: string): Promise<unknown> => eventually('it is checked', async () => (await bench.deployments.get(id)).health.checkedAt?.getTime() === bench.clock.now().getTime());
    await bench.clock.passSleepOf(10_000);
    await isChecked(probed.id);
    await bench.clock.passSleepOf(20_000);
    await Promise.all([isChecked(probed.id), isChecked(quiet.id)]);
    for (const { id } of [probed, quiet]) expect(await bench.deployments.get(id)).toMatchObject({ runs: 1, health: { status: 'healthy' } });
  });
});
