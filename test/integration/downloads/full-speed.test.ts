import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from '@jest/globals';

const script = fileURLToPath(new URL('../../../bench/full-speed.ts', import.meta.url));

it('a download at full speed is hashed and scanned, and its figures are told', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [script, '--short', '--bytes', String(16 * 1024 * 1024)]);
  const figure = expect.any(Number) as unknown;
  expect(JSON.parse(stdout)).toMatchObject({ bench: 'full-speed', mib: 16, megabytesPerSecond: figure, loopBusy: figure, loopDelayP99Ms: figure, cpuSeconds: figure });
});
