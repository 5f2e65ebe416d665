import { once } from 'node:events';
import { access, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, connect, type AddressInfo, type Server } from 'node:net';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { processesNaming } from '../support/processes.ts';
import { spawnService, startService, type ServiceProcess } from '../support/service-process.ts';

let folder: TemporaryFolder;
const folders: TemporaryFolder[] = [];

const modeOf = async (name: string): Promise<number> => (await stat(path.join(folder.path, name))).mode & 0o777;
const exists = (file: string): Promise<boolean> => access(file).then(() => true, () => false);
const start = (): Promise<ServiceProcess> => startService({ dataDir: folder.path });

async function newFolder(name: string): Promise<TemporaryFolder> {
  const made = await createTemporaryFolder(name);
  folders.push(made);
  return made;
}

/** A start that is expected to end by itself. */
async function failedStart(env: Record<string, string>, args: string[] = []): Promise<{ code: number | null; said: string }> {
  const { child, output } = spawnService({ dataDir: folder.path, env, args });
  // `close`: all that it said has been read.
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, said: output() };
}

async function listenLocally(onConnection?: () => void): Promise<{ server: Server; port: number }> {
  const server = createServer((socket) => {
    onConnection?.();
    socket.destroy();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { server, port: (server.address() as AddressInfo).port };
}

async function expectNothingLeft(dataDir: string): Promise<void> {
  expect(await processesNaming(dataDir)).toEqual([]);
  const names = await readdir(dataDir);
  expect(names).not.toContain('server.json');
  expect(names).not.toContain('service.lock');
}

beforeAll(async () => {
  folder = await newFolder('life');
});

afterAll(async () => {
  for (const made of folders) {
    // What a failed test leaves behind must not outlive it.
    for (const { pid } of await processesNaming(made.path)) process.kill(pid, 'SIGKILL');
    await made.remove();
  }
});

describe('a running service', () => {
  it('has the documented files, private, and refuses a second one on its folder with its pid', async () => {
    const service = await start();
    const isRoot = process.getuid?.() === 0;
    expect(await Promise.all(['', 'admin.key', 'server.json', 'logs', 'database', 'models'].map(modeOf))).toEqual([isRoot ? 0o711 : 0o700, 0o600, 0o600, 0o700, 0o700, 0o700]);
    const server = JSON.parse(await readFile(path.join(folder.path, 'server.json'), 'utf8')) as Record<string, unknown>;
    expect(server).toEqual({ pid: service.pid, url: service.url, version: expect.any(String), started_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) });
    const second = await failedStart({});
    expect(second.code).toBe(1);
    expect(second.said).toContain(`process ${service.pid}`);
    expect(second.said).not.toMatch(/^\s+at /m);
    expect((await fetch(`${service.url}/ready`)).status).toBe(200);
    expect(service.output()).not.toContain(service.key);
    expect((await service.end('SIGTERM')).code).toBe(0);
    await expectNothingLeft(folder.path);
  }, 60_000);

  it('ends in order when its terminal is closed', async () => {
    const service = await start();
    expect(await service.end('SIGHUP')).toEqual({ code: 0, signal: null });
    await expectNothingLeft(folder.path);
  }, 60_000);

  it('goes on when nobody reads its output any more', async () => {
    const { child } = spawnService({ dataDir: folder.path });
    child.stdout?.destroy();
    child.stderr?.destroy();
    const exited = once(child, 'exit');
    const url = await eventually('it is ready', async () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`it ended with ${child.exitCode ?? String(child.signalCode)}`);
      const server = JSON.parse(await readFile(path.join(folder.path, 'server.json'), 'utf8').catch(() => 'null')) as { url: string } | null;
      return server?.url;
    }, 30_000);
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
    await expectNothingLeft(folder.path);
  }, 60_000);

  it('ends at once with 130 at a second signal, and takes its database along', async () => {
    const service = await start();
    // A request whose body never comes keeps the first signal's stop waiting.
    const { hostname, port } = new URL(service.url);
    const socket = connect(Number(port), hostname);
    await once(socket, 'connect');
    socket.on('error', () => undefined);
    socket.write(`POST /graphql HTTP/1.1\r\nhost: ${hostname}\r\nauthorization: Bearer ${service.key}\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{`);
    await eventually('the request has arrived', async () => (await fetch(`${service.url}/ready`)).status === 200);
    const ended = service.end('SIGTERM');
    await eventually('it stops', () => service.output().includes('stopping'));
    await eventually('it has ended', () => {
      // Within a tenth of a second of the first this is an echo, not a second one.
      if (service.isAlive()) process.kill(service.pid, 'SIGTERM');
      return !service.isAlive();
    });
    expect(await ended).toEqual({ code: 130, signal: null });
    socket.destroy();
    expect(await processesNaming(folder.path)).toEqual([]);
  }, 60_000);
});

describe('a start', () => {
  it('that is told to end while the database is being made leaves nothing and exits with 0', async () => {
    const fresh = await newFolder('initdb');
    const { child, output } = spawnService({ dataDir: fresh.path });
    const exited = once(child, 'exit');
    const database = path.join(fresh.path, 'database');
    await eventually('initdb writes', async () => {
      const making = (await readdir(database).catch(() => [])).find((name) => name.startsWith('cluster.'));
      return making !== undefined && (await exists(path.join(database, making, 'base', '1')));
    }, 30_000);
    child.kill('SIGINT');
    expect([await exited, output().includes('ENOTEMPTY')]).toEqual([[0, null], false]);
    await expectNothingLeft(fresh.path);
    expect((await readdir(database)).filter((name) => name.startsWith('cluster'))).toEqual([]);
  }, 60_000);

  it('replaces an admin key file that holds no key', async () => {
    await writeFile(path.join(folder.path, 'admin.key'), 'junk\n');
    const service = await start();
    expect(service.key).toMatch(/^llmm_/);
    expect((await fetch(`${service.url}/api/deployments/list`, { headers: { authorization: `Bearer ${service.key}` } })).status).toBe(200);
    await service.end();
  }, 60_000);

  it('on a port that is taken says so in one sentence, and leaves nothing', async () => {
    const { server, port } = await listenLocally();
    const { code, said } = await failedStart({ LLM_MANAGER_PORT: String(port) });
    server.close();
    expect(code).toBe(1);
    expect(said).toContain(`llm-manager: PORT_IN_USE: Cannot listen on 127.0.0.1:${port}: another program listens there already.`);
    expect(said).not.toMatch(/^\s+at /m);
    await expectNothingLeft(folder.path);
  }, 60_000);

  it('in a place where no folder can be made says which and what to do', async () => {
    for (const dataDir of ['/proc/llm-manager', path.join(folder.path, 'admin.key', 'below')]) {
      const { code, said } = await failedStart({ LLM_MANAGER_DATA_DIR: dataDir });
      expect(code).toBe(1);
      expect(said).toMatch(/^llm-manager: START_FAILED: The data folder \S+ cannot be used: .+ Choose another one with --data-dir or LLM_MANAGER_DATA_DIR\.$/m);
    }
  }, 60_000);

  it.each([
    ['a database', 'DATABASE_URL', 'postgresql', '/db'],
    ['a Redis', 'REDIS_URL', 'redis', ''],
  ])('with %s that does not answer waits, says so in one line without the password, and ends with 0 when told to', async (_what, name, scheme, path) => {
    const { server, port } = await listenLocally();
    const { child, output } = spawnService({ dataDir: folder.path, env: { [name]: `${scheme}://user:hunter2@127.0.0.1:${port}${path}` } });
    const closed = once(child, 'close');
    const line = `at 127.0.0.1:${port}${path} (${name}) cannot be reached; waiting for it`;
    await eventually('the line', () => output().includes(line), 30_000);
    child.kill('SIGTERM');
    expect(await closed).toEqual([0, null]);
    server.close();
    expect(output().split(line)).toHaveLength(2);
    expect(output()).not.toContain('hunter2');
    await expectNothingLeft(folder.path);
  }, 60_000);

  it('with wrong settings exits with 2 and one line for each, the nearest name, and no secret', async () => {
    const { code, said } = await failedStart({
      LLM_MANAGER_PORT: '70000',
      LLM_MANAGER_LOG_LEVL: 'info',
      LLM_MANAGER_OLLAMA_LIBRARY: 'http://user:hunter2@library.example',
      LLM_MANAGER_ADMIN_KEY: 'hunter2 hunter2 hunter2',
    });
    expect(code).toBe(2);
    expect(said.trimEnd().split('\n')).toHaveLength(4);
    expect(said).toContain('did you mean LLM_MANAGER_LOG_LEVEL?');
    expect(said).not.toContain('hunter2');
  });
});

it('takes a stale server.json and lock for what they are', async () => {
  await writeFile(path.join(folder.path, 'server.json'), JSON.stringify({ pid: 1, url: 'http://127.0.0.1:9', version: '0', started_at: '2026-01-01T00:00:00Z' }));
  await writeFile(path.join(folder.path, 'service.lock'), JSON.stringify({ pid: 1, startTime: 'of another boot' }));
  const service = await start();
  expect((await service.end('SIGINT')).code).toBe(0);
  await expectNothingLeft(folder.path);
  await rm(path.join(folder.path, 'server.json'), { force: true });
}, 60_000);
