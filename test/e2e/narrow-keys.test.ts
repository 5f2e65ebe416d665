import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder } from '../support/data-dir.ts';
import { runCommand } from '../support/command-line.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';

let folder: Awaited<ReturnType<typeof createTemporaryFolder>>;
let service: ServiceProcess;
beforeAll(async () => {
  folder = await createTemporaryFolder('narrow-keys');
  service = await startService({ dataDir: folder.path });
});
afterAll(async () => {
  await service.end();
  await folder.remove();
});

async function asAdmin(query: string): Promise<unknown> {
  const headers = { authorization: `Bearer ${service.key}`, 'content-type': 'application/json' };
  const response = await fetch(`${service.url}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query }) });
  return ((await response.json()) as { data: unknown }).data;
}
const cli = (...args: string[]) => runCommand(args, { dataDir: folder.path });
const statusOf = async (key: string, path: string): Promise<number> => (await fetch(`${service.url}${path}`, { headers: { authorization: `Bearer ${key}` } })).status;

type Entries = { auditLog: { nodes: { action: string; outcome: string; actor: { name: string | null } | null; target: { targetId: string | null } | null }[] } };
const entries = async (): Promise<Entries['auditLog']['nodes']> => ((await asAdmin('{ auditLog(first: 100) { nodes { action outcome actor { name } target { targetId } } } }')) as Entries).auditLog.nodes;

describe('a key that is made with less', () => {
  it('is made, shown and changed by the command line, and does no more than it may', async () => {
    const made = await cli('keys', 'create', 'app', '--role', 'operator', '--scope', 'downloads:read', '--requests-per-minute', '4', '--tokens-per-day', '1000', '--json');
    expect(made.code).toBe(0);
    const { key, secret } = JSON.parse(made.stdout) as { key: { key_id: string }; secret: string };
    expect(key).toMatchObject({ scopes: ['downloads:read'], limits: { requests_per_minute: 4, tokens_per_day: 1000 }, allowed_deployments: null });
    expect((await cli('keys')).stdout).toMatch(/app .*downloads:read, 4 requests\/min, 1000 tokens\/day/);
    expect([await statusOf(secret, '/api/downloads/list'), await statusOf(secret, '/api/deployments/list'), await statusOf(secret, '/metrics'), await statusOf(secret, '/v1/models')]).toEqual([200, 403, 403, 403]);
    expect(await statusOf(secret, '/api/downloads/list')).toBe(429);
    const rotated = await cli('keys', 'rotate', key.key_id, '--scope', 'deployments:read', '--json');
    const now = JSON.parse(rotated.stdout) as { secret: string; key: object };
    expect(now.key).toMatchObject({ scopes: ['deployments:read'], limits: { requests_per_minute: 4, tokens_per_day: 1000 } });
    expect(await statusOf(secret, '/api/downloads/list')).toBe(401);
    const refused = await cli('keys', 'create', 'other', '--deployment', 'nobody');
    expect([refused.code, refused.stderr]).toEqual([2, expect.stringContaining('there is no deployment "nobody"')]);
  });

  it('is in the audit log with all that was done, also after the service was killed', async () => {
    const made = (await asAdmin('mutation { createApiKey(input: { name: "last", owner: "o", role: USER }) { ... on CreateApiKeyPayload { key { keyId } } } }')) as { createApiKey: { key: { keyId: string } } };
    await service.end('SIGKILL');
    service = await startService({ dataDir: folder.path });
    const all = await entries();
    expect(all[0]).toEqual({ action: 'key.create', outcome: 'SUCCEEDED', actor: { name: 'admin' }, target: { targetId: made.createApiKey.key.keyId } });
    expect(all.map(({ action, outcome }) => `${action} ${outcome}`)).toEqual(expect.arrayContaining(['key.rotate SUCCEEDED', 'access.authorize DENIED', 'access.authenticate DENIED', 'key.create FAILED']));
  });
});

describe('the version', () => {
  it('is the last word of its line, and JSON where that is asked for', async () => {
    const { stdout } = await cli('--version');
    const version = stdout.trim().split(' ').at(-1);
    expect(JSON.parse((await cli('--version', '--json')).stdout)).toEqual({ name: 'llm-manager', version });
  });
});
