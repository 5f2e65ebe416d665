/** What the contract promises at its edges, on the service as a process: what callers meet who do not keep to the usual way. */
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createTemporaryFolder, type TemporaryFolder } from '../support/data-dir.ts';
import { RestClient } from '../support/rest-client.ts';
import { startService, type ServiceProcess } from '../support/service-process.ts';

let folder: TemporaryFolder;
let service: ServiceProcess;
let api: RestClient;

beforeAll(async () => {
  folder = await createTemporaryFolder('edges');
  service = await startService({ dataDir: folder.path });
  api = new RestClient(service.url, service.key);
}, 90_000);

afterAll(async () => {
  await service.end('SIGTERM');
  await folder.remove();
}, 60_000);

describe('the probes', () => {
  it('tell whether database, events and queue answer, in detail only to callers with a key, and take none in the URL', async () => {
    expect((await api.call('GET', '/ready')).body).toEqual({ status: 'ready', checks: { database: 'ok', events: 'ok', queue: 'ok' } });
    expect((await new RestClient(service.url, null).call('GET', '/ready')).body).toEqual({ status: 'ready' });
    for (const path of ['/ready', '/metrics']) {
      const { status, headers, body } = await api.call('POST', path);
      expect([status, headers.get('allow'), body]).toEqual([405, 'GET', { error: expect.objectContaining({ code: 'METHOD_NOT_ALLOWED' }) }]);
      expect(await api.call('GET', `${path}?api_key=x`)).toMatchObject({ status: 400, body: { error: { code: 'VALIDATION_FAILED' } } });
    }
  });
});
