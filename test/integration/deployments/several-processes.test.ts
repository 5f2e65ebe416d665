import { setInterval } from 'node:timers';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { Deployment } from '../../../src/domains/deployments/deployment.entity.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, never, operator, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { eventually } from '../../support/eventually.ts';
import { Society } from '../../support/instances.ts';
import { isAlive } from '../../support/processes.ts';
import { createSmallEngineRuntime, type SmallEngineRuntime } from '../../support/small-engine-runtime.ts';
import type { Instances } from '../../../src/shared/instances.ts';

const tickMs = 100;

describe('a deployment that another service process runs', () => {
  let database: TestDatabase;
  let society: Society;
  let owner: Instances;
  let there: DeploymentsBench;
  let here: DeploymentsBench;
  let engines: SmallEngineRuntime;
  let time: NodeJS.Timeout;
  let id: string;

  beforeEach(async () => {
    database = await createTestDatabase();
    society = new Society();
    owner = society.join();
    engines = createSmallEngineRuntime();
    there = await createDeploymentsBench({ em: database.em(), runtimes: [engines], instances: owner });
    here = await createDeploymentsBench({ em: database.em(), runtimes: [createSmallEngineRuntime()], instances: society.join(), logDir: there.logDir });
    await Promise.all([there.start(never), here.start(never)]);
    // Their time goes on by itself: each waits for the other.
    time = setInterval(() => [there, here].forEach(({ clock }) => clock.advance(tickMs)), 5);
    id = (await there.deployments.start({ runtime: 'small', name: 'shared', override: [] }, operator, never)).id;
    await there.reaches(id, 'running');
  });
  afterEach(async () => {
    await Promise.all([here.close(), there.close()]);
    clearInterval(time);
    for (const pid of engines.pids) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    await database.drop();
  });

  it('is reached where it is', async () => {
    const [mine, theirs] = await Promise.all([here, there].map((bench) => bench.deployments.target(id, never)));
    expect(mine?.baseUrl).toBe(theirs?.baseUrl);
  });

  it('is stopped, started and restarted by commands that go to that process, one engine at a time', async () => {
    await here.deployments.stop(id, never);
    await here.reaches(id, 'stopped');
    expect(engines.pids.filter(isAlive)).toEqual([]);
    await here.deployments.restart(id, operator, never);
    await eventually('it runs again', async () => (await here.deployments.get(id)).status === 'running' && (await here.deployments.get(id)).runs === 2);
    await here.deployments.restart(id, operator, never);
    await eventually('it has been restarted', async () => (await here.deployments.get(id)).status === 'running' && (await here.deployments.get(id)).runs === 3);
    expect(engines.pids).toHaveLength(3);
    expect(engines.pids.filter(isAlive)).toEqual(engines.pids.slice(-1));
    expect(await database.em().findOneOrFail(Deployment, { id })).toMatchObject({ instanceId: owner.self.id, command: null });
  });

  it('belongs to this one once that process has died, with the engine that serves, and obeys here', async () => {
    await society.die(owner);
    await eventually('it is taken over', async () => (await database.em().findOneOrFail(Deployment, { id })).instanceId !== owner.self.id);
    expect(await here.reaches(id, 'running')).toMatchObject({ runs: 1, restarts: 0 });
    expect(engines.pids.filter(isAlive)).toHaveLength(1);
    await here.deployments.stop(id, never);
    await here.reaches(id, 'stopped');
    expect(engines.pids.filter(isAlive)).toEqual([]);
  });
});
