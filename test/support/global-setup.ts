import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const command = join(process.cwd(), 'test', 'support', 'test-cluster-command.ts');

/** One database server per jest run; workers find it by environment, which they inherit. */
export default async function setUp(): Promise<void> {
  const given = process.env['TEST_DATABASE_URL'];
  if (given) {
    const template = new URL(given);
    template.pathname = '/llmm_template';
    await run(process.execPath, [command, 'template', template.href]);
    process.env['LLMM_TEST_CLUSTER_URL'] = given;
    return;
  }
  const { stdout } = await run(process.execPath, [command, 'start', String(process.pid)]);
  const cluster = JSON.parse(stdout) as { adminUrl: string; folder: string };
  process.env['LLMM_TEST_CLUSTER_URL'] = cluster.adminUrl;
  process.env['LLMM_TEST_CLUSTER_FOLDER'] = cluster.folder;
}
