import type { Socket } from 'node:net';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, jest } from '@jest/globals';
import type { ModelRuntime } from '../../../src/domains/deployments/runtime.ts';
import { DockerEngine } from '../../../src/domains/deployments/runtimes/docker/docker-engine.ts';
import { createDockerRuntime } from '../../../src/domains/deployments/runtimes/docker/docker.runtime.ts';
import { OllamaServer } from '../../../src/domains/deployments/runtimes/ollama/ollama-server.ts';
import { createOllamaRuntime } from '../../../src/domains/deployments/runtimes/ollama/ollama.runtime.ts';
import { createRemoteRuntime } from '../../../src/domains/deployments/runtimes/remote/remote.runtime.ts';
import { createStreamingHttp } from '../../../src/infrastructure/http/streaming-http.ts';
import { createGate } from '../../../src/shared/async.ts';
import { AppError } from '../../../src/shared/errors.ts';
import { createTestDatabase, type TestDatabase } from '../../support/database.ts';
import { admin, createDeploymentsBench, never, type DeploymentsBench } from '../../support/deployments-bench.ts';
import { answerForEver, answerJson, startHostileServer, type HostileServer } from '../../support/hostile-server.ts';
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

const ok = 'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n';

describe('a server in the place of Ollama or of the Docker Engine', () => {
  const inference = createStreamingHttp();
  let server: HostileServer;
  let own: DeploymentsBench;
  afterEach(async () => {
    await own.close();
    await server.close();
  });
  afterAll(() => inference.close());

  async function open(answer: (socket: Socket, line: string) => void): Promise<void> {
    server = await startHostileServer(answer);
    const ways = { http: inference.request, fetch: inference.fetch };
    const engine = new DockerEngine({ kind: 'tcp', host: '127.0.0.1', port: server.port }, 'service');
    const docker = createDockerRuntime({ engine, http: plainHttp, images: null, ollama: { streaming: inference.request, fetch: inference.fetch } });
    own = await createDeploymentsBench({ em: database.em(), runtimes: [createOllamaRuntime({ host: server.url, ...ways }), docker, createSmallEngineRuntime()] });
  }

  it.each<[string, (socket: Socket) => void]>([
    ['never answers', () => undefined],
    ['never ends its answer', (socket) => answerForEver(socket, ok, ' '.repeat(65_536))],
    ['never ends its headers', (socket) => answerForEver(socket, 'HTTP/1.1 200 OK\r\n', `x-a: ${'b'.repeat(1_000)}\r\n`)],
    ['sends early hints without end', (socket) => answerForEver(socket, '', 'HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n'.repeat(100))],
    ['sends its callers elsewhere', (socket) => socket.end('HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n')],
    ['refuses in a page without end', (socket) => answerForEver(socket, 'HTTP/1.1 500 Oh\r\ncontent-type: text/html\r\n\r\n', '<p>'.repeat(20_000))],
    ['says null', (socket) => answerJson(socket, 'null')],
    ['has numbers where words are', (socket) => answerJson(socket, '{"version":7,"ServerVersion":[],"models":[{"name":7}]}')],
  ])('counts as not there when it %s, and nothing is started on it', async (_what, answer) => {
    await open(answer);
    const told = await own.deployments.runtimes(never);
    expect(told.find(({ id }) => id === 'ollama')).toMatchObject({ available: false, detail: expect.any(String), version: null });
    expect(told.find(({ id }) => id === 'small')).toMatchObject({ available: true });
    expect(await own.deployments.ownModels('ollama', never)).toEqual([]);
    await expect(own.deployments.start({ runtime: 'ollama', modelId: 'ollama:smollm2', override: [] }, admin, never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  it.each<[string, (socket: Socket) => void]>([
    ['accepts and never answers', () => undefined],
    ['sends its callers to where nobody is', (socket) => socket.end('HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n')],
    ['sends its callers to what is no HTTP', (socket) => socket.end('HTTP/1.1 307 Found\r\nlocation: gopher://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n')],
    ['never ends its answer', (socket) => answerForEver(socket, ok, ' '.repeat(65_536))],
    ['has lists where words are', (socket) => answerJson(socket, '{"ServerVersion":[],"MemTotal":"x","NCPU":-1}')],
  ])('is left out as a Docker Engine that %s', async (_what, answer) => {
    await open(answer);
    expect((await own.deployments.runtimes(never)).find(({ id }) => id === 'docker')).toMatchObject({ available: false, detail: expect.stringContaining('does not answer') });
    await expect(own.deployments.start({ runtime: 'docker', modelId: 'local:any', override: [] }, admin, never)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE' });
  });

  it('has only those of its models listed that can be named', async () => {
    const names = ['good:1b', '\u001b[2Jbad', '../../etc/passwd', 'a\u0000b', 'x'.repeat(5_000)];
    await open((socket) => answerJson(socket, JSON.stringify({ version: '0.12.6', models: [null, 7, ...names.map((name) => ({ name, size: -1, details: 7 }))] })));
    expect(await own.deployments.ownModels('ollama', never)).toEqual([{ modelId: 'ollama:good:1b', sizeBytes: 0, quantization: null }]);
  });

  it.each<[string, (socket: Socket) => void]>([
    ['a line without an end', (socket) => answerForEver(socket, ok, 'x'.repeat(65_536))],
    ['lines that are no JSON', (socket) => answerForEver(socket, ok, '\u001b[2J forged\n'.repeat(1_000))],
    ['a refusal that is no JSON', (socket) => socket.end('HTTP/1.1 500 Oh\r\ncontent-length: 8\r\n\r\n\u001b[2Jhaha')],
  ])('does not write to the output of the service with %s', async (_what, answer) => {
    const prints = (['log', 'warn', 'error'] as const).map((name) => jest.spyOn(console, name).mockImplementation(() => undefined));
    await open(answer);
    await expect(new OllamaServer(server.url, inference.fetch).pull('smollm2', () => undefined, never)).rejects.toThrow(/^it (sent|answered)/);
    for (const print of prints) {
      expect(print).not.toHaveBeenCalled();
      print.mockRestore();
    }
  });
});

it('starts one deployment while the runtime of another still thinks about whether it can be used', async () => {
  const asked = createGate();
  const answered = createGate();
  const small = createSmallEngineRuntime();
  const probe: ModelRuntime['probe'] = async (signal) => {
    asked.open();
    await answered.opened;
    return await small.probe(signal);
  };
  const own = await createDeploymentsBench({ em: database.em(), runtimes: [small, { ...small, id: 'slow', probe }] });
  const slow = own.deployments.start({ runtime: 'slow', override: [] }, admin, never);
  await asked.opened;
  const { id } = await own.deployments.start({ runtime: 'small', override: [] }, admin, never);
  await own.reaches(id, 'running');
  answered.open();
  await own.reaches((await slow).id, 'running');
  await own.close();
});

it('says that a runtime that fails when it is asked cannot be used, and lists the others', async () => {
  const small = createSmallEngineRuntime();
  const own = await createDeploymentsBench({ em: database.em(), runtimes: [{ ...small, id: 'odd', probe: () => Promise.reject(new TypeError('its own fault')) }, small] });
  expect(await own.deployments.runtimes(never)).toMatchObject([{ id: 'odd', available: false, detail: 'It could not say whether it can be used.' }, { id: 'small', available: true }]);
  await own.close();
});
