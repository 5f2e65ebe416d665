import { readdirSync, readFileSync, statSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ensureDatabase, withSqlClient } from '../../src/infrastructure/database/sql-client.ts';
import { runCommand } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { enginesOf } from '../support/processes.ts';
import { startRedisServer, type RedisServer } from '../support/redis-server.ts';
import { startSeparateCluster, stopSeparateCluster } from '../support/separate-cluster.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';
import type { TestCluster } from '../support/test-cluster.ts';
import { buildTinyGguf } from '../support/tiny-gguf.ts';

const databasePassword = 'secretPasswordOfPostgres';
const redisPassword = 'secretPasswordOfRedis';
const adminKey = 'secret-admin-key-of-the-operator-0123456789';
const everySecret = /secret[-A-Z][A-Za-z-]*/g;

type Deployment = { deployment_id: string; status: string; restarts: number };

describe('passwords of PostgreSQL and Redis', () => {
  let folder: TemporaryFolder;
  let models: TemporaryFolder;
  let cluster: TestCluster;
  let redis: RedisServer;
  let service: ServiceProcess;
  let env: Record<string, string>;
  /** All that anybody was answered, and what the commands printed. */
  const said: string[] = [];

  beforeAll(async () => {
    [folder, models, cluster, redis] = await Promise.all([createTemporaryFolder('secrets-production'), createTemporaryFolder('secrets-models'), startSeparateCluster(), startRedisServer({ password: redisPassword })]);
    const url = new URL(cluster.adminUrl);
    url.pathname = '/secrets';
    await ensureDatabase(url.href);
    await sql(cluster.adminUrl, `create role keeper login superuser password '${databasePassword}'`);
    url.username = 'keeper';
    url.password = databasePassword;
    env = { DATABASE_URL: url.href, REDIS_URL: redis.url, LLM_MANAGER_ADMIN_KEY: adminKey };
    service = await startService({ dataDir: folder.path, env: { ...env, LLM_MANAGER_LOG_LEVEL: 'trace' } });
    await writeFile(path.join(models.path, 'tiny.gguf'), buildTinyGguf());
  }, 180_000);
  afterAll(async () => {
    if (service.isAlive()) await service.end();
    await redis.close();
    await stopSeparateCluster(cluster);
    await Promise.all([folder.remove(), models.remove()]);
  }, 60_000);

  async function sql(url: string, statement: string): Promise<void> {
    await withSqlClient(url, (client) => client.execute(statement));
  }

  async function ask(method: string, route: string, body?: object): Promise<string> {
    const response = await fetch(`${service.url}${route}`, { method, headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' }, ...(body ? { body: JSON.stringify(body) } : {}) });
    const text = await response.text();
    said.push(text);
    return text;
  }

  async function command(...args: string[]): Promise<number | null> {
    const { code, stdout, stderr } = await runCommand(args, { dataDir: folder.path, env: { ...env, LLM_MANAGER_API_KEY: adminKey } });
    said.push(stdout, stderr);
    return code;
  }

  function files(below: string): string[] {
    return readdirSync(below, { withFileTypes: true }).flatMap((entry) => {
      const name = path.join(below, entry.name);
      if (entry.isDirectory()) return files(name);
      return entry.isFile() && statSync(name).size < 64 * 1024 * 1024 ? [name] : [];
    });
  }

  async function deployment(id: string): Promise<Deployment> {
    return (JSON.parse(await ask('GET', `/api/deployments/${id}/status`)) as { deployment: Deployment }).deployment;
  }

  it('are in nothing that is answered, written or shown while an engine crashes and both servers fail', async () => {
    expect(await command('import', path.join(models.path, 'tiny.gguf'))).toBe(0);
    const started = JSON.parse(await ask('POST', '/api/deployments/start', { model_id: 'local:tiny', name: 'tiny', config: { threads: 1, gpu_layers: 0 } })) as { deployment: Deployment };
    const { deployment_id: id } = started.deployment;
    await eventually('it runs', async () => (await deployment(id)).status === 'running');
    const [engine = 0] = await enginesOf(service.pid);
    // Its environment and its memory of the service are all that a broken engine could tell.
    expect(readFileSync(`/proc/${engine}/environ`, 'utf8').match(everySecret)).toBeNull();
    process.kill(engine, 'SIGKILL');
    await eventually('it was started again', async () => {
      const { status, restarts } = await deployment(id);
      return status === 'running' && restarts > 0;
    });
    await redis.kill();
    await eventually('Redis is missed', async () => (await ask('GET', '/ready')).includes('degraded'));
    for (const route of ['/metrics', '/ready', '/api/deployments/list', `/api/deployments/${id}/logs`, '/api/system/resources']) await ask('GET', route);
    await sql(cluster.adminUrl, "alter role keeper password 'another'; alter role keeper nologin; select pg_terminate_backend(pid) from pg_stat_activity where usename = 'keeper'");
    for (const route of ['/ready', '/metrics', '/api/deployments/list', `/api/deployments/${id}/status`]) await ask('GET', route);
    expect(await command('doctor')).toBe(1);
    await command('doctor', '--json');
    await command('config', '--json');
    await sql(cluster.adminUrl, `alter role keeper login password '${databasePassword}'`);
    await redis.start();
    await eventually('both are there again', async () => (await ask('GET', '/ready')).includes('"ready"'));
    await ask('POST', '/graphql', { query: '{ deployments(first: 50) { nodes { id error { message } lastExit { reason } events(first: 50) { nodes { reason } } } } serverInfo { database events } }' });
    await command('status', '--json');
    await service.end('SIGTERM');
    const logs = files(path.join(folder.path, 'logs'));
    const written = logs.flatMap((name) => readFileSync(name, 'utf8').match(everySecret) ?? []);
    expect({ said: said.join('\n').match(everySecret), output: service.output().match(everySecret), written }).toEqual({ said: null, output: null, written: [] });
  }, 240_000);
});
