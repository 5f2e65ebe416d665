import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export default async function tearDown(): Promise<void> {
  const folder = process.env['LLMM_TEST_CLUSTER_FOLDER'];
  if (folder) await run(process.execPath, [join(process.cwd(), 'test', 'support', 'test-cluster-command.ts'), 'stop', folder]);
}
