import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, it } from '@jest/globals';
import { ProcessMeter } from '../../../src/domains/deployments/runtimes/process-use.ts';

const allocate = "const held = Buffer.alloc(100e6, 1); setInterval(() => held, 1e6);";
const parent = `const child = require('node:child_process').spawn(process.execPath, ['-e', ${JSON.stringify(`${allocate} console.log('ready')`)}], { stdio: ['ignore', 'inherit', 'inherit'] }); process.on('SIGTERM', () => { child.kill(); process.exit(); }); setInterval(() => undefined, 1e6);`;

it('counts what the descendants of a process use to it, and knows nothing of one that has ended', async () => {
  const server = spawn(process.execPath, ['-e', parent], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout, 'data');
  const meter = new ProcessMeter(server.pid ?? 0);
  const { memoryBytes } = await meter.read();
  // Two programs, of which the lower one holds 100 MB beside itself.
  if (process.platform === 'linux') expect(memoryBytes).toBeGreaterThan(150e6);
  expect((await meter.read()).cpuPercent).toEqual(expect.any(Number));
  server.kill();
  await once(server, 'exit');
  expect(await meter.read()).toEqual({ cpuPercent: null, memoryBytes: null });
});
