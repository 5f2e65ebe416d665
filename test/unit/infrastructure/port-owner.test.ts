import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { expect, it } from '@jest/globals';
import { freePort } from '../../../src/platform/free-port.ts';
import { isOurPort, ownersOf } from '../../../src/platform/port-owner.ts';

it('knows a port of its own account, and one that nobody listens on', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  expect(await isOurPort((server.address() as AddressInfo).port)).toBe(true);
  server.close();
  if (process.platform === 'linux') expect(await isOurPort(await freePort())).toBe(false);
});

it('reads who listens, and takes no connection for a listener', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1
   1: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1
   2: 0100007F:1F90 0100007F:D000 01 00000000:00000000 00:00000000 00000000    33        0 13 1
`;
  expect([ownersOf(table, 8080), ownersOf(table, 8081), ownersOf(table, 53_248)]).toEqual([[1000], [0], []]);
});
