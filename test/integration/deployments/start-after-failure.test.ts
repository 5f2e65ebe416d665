import { afterAll, afterEach, beforeAll, beforeEach, expect, it, jest } from '@jest/globals';
import { DeploymentRepository } from '../../../src/domains/deployments/deployment.repository.ts';
import { createGate } from '../../../src/shared/async.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { createDeploymentsBench, never, operator, type DeploymentsBench } from '../../support/deployments-bench.ts';
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
  jest.restoreAllMocks();
  await bench.close();
  expect(runtime.pids.filter(isAlive)).toEqual([]);
});

type Change = DeploymentRepository['change'];

/** The real changes of state, in an order that chance seldom brings: the start that is asked for is overtaken. */
function letTheLoopOvertake(): void {
  const isAsked = createGate();
  const hasGoneOn = createGate();
  const written: Change = Reflect.get(DeploymentRepository.prototype, 'change');
  jest.spyOn(DeploymentRepository.prototype, 'change').mockImplementation(async function (this: DeploymentRepository, request) {
    if (request.to === 'pending') {
      isAsked.open();
      await hasGoneOn.opened;
    }
    const left = await written.call(this, request);
    if (request.to === 'failed') await isAsked.opened;
    if (request.to === 'starting' && left === 'failed') hasGoneOn.open();
    return left;
  });
}

it('gives whoever starts a failed deployment all tries anew, also where it goes on before that start is written', async () => {
  const { id } = await bench.deployments.start({ runtime: 'small', config: { environment: { MODE: 'refuse' } }, override: [] }, operator, never);
  letTheLoopOvertake();
  for (const seconds of [10, 20, 40, 80]) await bench.clock.passSleepOf(seconds * 1000);
  await bench.reaches(id, 'failed');

  await bench.deployments.start({ deploymentId: id, override: [] }, operator, never);
  await eventually('it waits for the third try, as after two failures', () => bench.clock.sleeps().includes(10_000));
  expect(await bench.deployments.get(id)).toMatchObject({ runs: 8, restarts: 2 });
  await bench.deployments.stop(id, never);
  await bench.reaches(id, 'stopped');
});
