import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ModelRuntime } from '../../../src/domains/deployments/runtime.ts';
import { createRemoteRuntime } from '../../../src/domains/deployments/runtimes/remote/remote.runtime.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { admin, createDeploymentsBench, never, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { answerJson, startHostileServer, type HostileServer } from '../../support/hostile-server.ts';
import { plainHttp } from '../../support/plain-http.ts';
import { createSmallEngineRuntime } from '../../support/small-engine-runtime.ts';

let database: TestDatabase;
let bench: DeploymentsBench;
let failing: { message: string };

beforeAll(async () => {
  database = await createTestDatabase();
});
afterAll(async () => {
  await database.drop();
});
beforeEach(async () => {
  failing = { message: '' };
  const rejects = (): never => {
    throw new AppError('START_FAILED', failing.message);
  };
  const small = createSmallEngineRuntime();
  const broken: ModelRuntime = { ...small, id: 'broken', start: rejects };
  bench = await createDeploymentsBench({ em: database.em(), runtimes: [small, broken, createRemoteRuntime({ http: plainHttp })] });
});
afterEach(async () => {
  await bench.close();
});

const once = { restart: { policy: 'never' as const } };

describe('what a server of somebody else says', () => {
  let server: HostileServer;
  afterEach(() => server.close());

  it.each([
    ['a name that no database can store', '{"data":[{"id":"a\\u0000b"}]}'],
    ['half a character', '{"data":[{"id":"a\\ud800"}]}'],
    ['a name that moves a terminal', '{"data":[{"id":"\\u001b[2Jx"}]}'],
    ['a name that turns text around', '{"data":[{"id":"a\\u202eb"}]}'],
    ['a name of a million letters', `{"data":[{"id":"${'x'.repeat(1_000_000)}"}]}`],
    ['a number for a name', '{"data":[{"id":7}]}'],
    ['nothing', 'null'],
    ['a nest of lists', `${'['.repeat(100_000)}${']'.repeat(100_000)}`],
  ])('as the list of its models is refused when it is %s, once and for all', async (_what, json) => {
    server = await startHostileServer((socket) => answerJson(socket, json));
    const { id } = await bench.deployments.start({ runtime: 'remote', config: { baseUrl: server.url, ...once }, override: [] }, admin, never);
    const { error } = await bench.reaches(id, 'failed');
    expect(error).toMatchObject({ code: 'START_FAILED', message: expect.stringContaining('did not answer with a list of models') });
    expect(server.requests).toHaveLength(1);
  });

  it('is left out of the list where only some names cannot be taken', async () => {
    server = await startHostileServer((socket) => answerJson(socket, '{"data":[{"id":"a\\u0000b"},{"id":"größe 模型/v1:q4"}]}'));
    const { id } = await bench.deployments.start({ runtime: 'remote', config: { baseUrl: server.url }, override: [] }, admin, never);
    await bench.reaches(id, 'running');
    expect((await bench.deployments.target(id, never)).model).toBe('größe 模型/v1:q4');
  });
});

it('keeps words of a runtime that no database can store and no terminal should see, made harmless and of bounded length', async () => {
  failing.message = `bad \0 \u001B[2J \uD800 ${'long '.repeat(100_000)}`;
  const { id } = await bench.deployments.start({ runtime: 'broken', config: once, override: [] }, admin, never);
  const { error, lastExit } = await bench.reaches(id, 'failed');
  const [newest] = (await bench.deployments.events(id, { limit: 1 })).items;
  for (const text of [error?.message, lastExit?.reason, newest?.reason]) {
    expect(text).toMatch(/^bad \\u\{0\} {2}\uFFFD long /);
    expect(text?.length).toBeLessThan(10_000);
  }
});
