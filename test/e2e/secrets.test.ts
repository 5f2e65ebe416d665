import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { runCommand } from '../support/command-line.ts';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { eventually } from '../support/eventually.ts';
import { createHub, type Hub } from '../support/hub/hub.ts';
import { startOpenAiServer, type OpenAiServer } from '../support/openai-server.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';

const hubToken = 'hf_secretTokenOfTheHub';
const remoteKey = 'sk-secretKeyOfTheRemote';
const wrongKey = 'llmm_secretWrongKeyOfACaller';
const adminKey = 'secret-admin-key-of-the-operator-0123456789';
const environmentSecret = 'secretValueOfTheEnvironment';
const databasePassword = 'secretPasswordOfPostgres';
const redisPassword = 'secretPasswordOfRedis';
const everySecret = /secret[-A-Z][A-Za-z-]*/g;

describe('secrets that a service is given', () => {
  let folder: TemporaryFolder;
  let hub: Hub;
  let remote: OpenAiServer;
  let service: ServiceProcess;
  /** All that anybody was answered, and what the commands printed. */
  const said: string[] = [];

  beforeAll(async () => {
    folder = await createTemporaryFolder('secrets');
    hub = await createHub({ repos: [{ id: 'acme/gated-GGUF', gated: 'manual', files: [{ path: 'model.Q4_K_M.gguf', content: 'weights' }] }] });
    remote = await startOpenAiServer({ apiKey: remoteKey });
    service = await startService({ dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint, HF_TOKEN: hubToken, LLM_MANAGER_ADMIN_KEY: adminKey, LLM_MANAGER_LOG_LEVEL: 'trace' } });
  }, 120_000);
  afterAll(async () => {
    if (service.isAlive()) await service.end();
    await hub.close();
    await folder.remove();
  });

  async function ask(method: string, route: string, body?: object, key = adminKey): Promise<{ status: number; body: { deployment?: { deployment_id: string; status: string } } }> {
    const response = await fetch(`${service.url}${route}`, { method, headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' }, ...(body ? { body: JSON.stringify(body) } : {}) });
    const text = await response.text();
    said.push(text);
    return { status: response.status, body: JSON.parse(text) as { deployment?: { deployment_id: string; status: string } } };
  }

  /** Of all processes that this service has started, as every account of the machine can read it. */
  function titles(): string {
    return readdirSync('/proc').filter((name) => /^\d+$/.test(name)).map((pid) => {
      try {
        const [title, status] = [readFileSync(`/proc/${pid}/cmdline`, 'utf8'), readFileSync(`/proc/${pid}/environ`, 'utf8')];
        return status.includes(folder.path) ? title : '';
      } catch {
        return '';
      }
    }).join('\n');
  }

  function files(below: string): string[] {
    return readdirSync(below, { withFileTypes: true }).flatMap((entry) => {
      const name = path.join(below, entry.name);
      if (entry.isDirectory()) return files(name);
      return entry.isFile() && statSync(name).size < 64 * 1024 * 1024 ? [name] : [];
    });
  }

  it('are in no answer, log, event or process title, whatever fails', async () => {
    // A token that the Hub does not know, a server with another key, one that goes away, and callers without rights.
    await ask('GET', '/api/models/huggingface:acme%2Fgated-GGUF/info');
    await ask('POST', '/api/downloads/start', { model_id: 'huggingface:acme/gated-GGUF' });
    const started = await ask('POST', '/api/deployments/start', { runtime: 'remote', name: 'far', config: { base_url: remote.url, api_key: remoteKey } });
    expect(started.status).toBe(202);
    const id = started.body.deployment?.deployment_id ?? '';
    const reaches = (...wanted: string[]): Promise<true | null> =>
      eventually(`it is ${wanted.join(' or ')}`, async () => (wanted.includes((await ask('GET', `/api/deployments/${id}/status`)).body.deployment?.status ?? '') ? true : null));
    await reaches('running');
    await ask('POST', '/api/deployments/start', { runtime: 'remote', name: 'refused', config: { base_url: remote.url, api_key: `${remoteKey}Wrong` } });
    await ask('POST', '/api/deployments/start', { model_id: 'huggingface:acme/gated-GGUF', config: { environment: { OMP_NUM_THREADS: environmentSecret } } });
    await ask('GET', '/api/deployments/list', undefined, wrongKey);
    await fetch(`${service.url}/api/deployments/list?api_key=${wrongKey}`).then(async (response) => said.push(await response.text()));
    await remote.close();
    await ask('POST', '/v1/chat/completions', { model: 'far', messages: [{ role: 'user', content: 'Hi' }] });
    await ask('GET', `/api/deployments/${id}/logs`);
    await ask('POST', '/graphql', { query: '{ deployments(first: 50) { nodes { id name config { baseUrl } error { message } events(first: 50) { nodes { reason } } } } auditLog(first: 50) { nodes { action } } apiKeys { nodes { name } } }' });
    for (const command of [['config', '--json'], ['ps', '--json'], ['logs', 'far'], ['status', '--json'], ['keys', '--json']]) {
      const { stdout, stderr } = await runCommand(command, { dataDir: folder.path, env: { HF_TOKEN: hubToken, LLM_MANAGER_API_KEY: adminKey } });
      said.push(stdout, stderr);
    }
    const shown = titles();
    expect(shown).toContain('serve');
    expect({ said: said.join('\n').match(everySecret), titles: shown.match(everySecret), output: service.output().match(everySecret) }).toEqual({ said: null, titles: null, output: null });
    await service.end('SIGKILL');
    const logs = files(path.join(folder.path, 'logs'));
    expect(logs.flatMap((name) => readFileSync(name, 'utf8').match(everySecret) ?? [])).toEqual([]);
  }, 180_000);

  it('are not told by commands that fail on them', async () => {
    const env = { HF_TOKEN: hubToken, DATABASE_URL: `postgresql://user:${databasePassword}@127.0.0.1:9/x`, REDIS_URL: `redis://:${redisPassword}@127.0.0.1:9`, LLM_MANAGER_ADMIN_KEY: adminKey };
    for (const command of [['config'], ['config', '--json'], ['doctor'], ['doctor', '--json']]) {
      const { code, stdout, stderr } = await runCommand(command, { dataDir: folder.path, env: { HF_ENDPOINT: hub.endpoint, ...env } });
      expect({ command, code, found: `${stdout}${stderr}`.match(everySecret) }).toEqual({ command, code: command[0] === 'doctor' ? 1 : 0, found: null });
    }
  }, 180_000);
});
