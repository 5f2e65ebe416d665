import { execFile } from 'node:child_process';
import path from 'node:path';
import { promisify } from 'node:util';
import type { TestCluster } from './test-cluster.ts';

const program = path.join(process.cwd(), 'test', 'support', 'test-cluster-command.ts');

/** By a program: in this process the server's supervisor would outlive the test. */
async function run(...args: string[]): Promise<string> {
  return (await promisify(execFile)(process.execPath, ['--disable-warning=ExperimentalWarning', program, ...args])).stdout;
}

/** A PostgreSQL of its own for one test file, which ends it. */
export async function startSeparateCluster(): Promise<TestCluster> {
  return JSON.parse(await run('start', String(process.pid))) as TestCluster;
}

export async function stopSeparateCluster(cluster: TestCluster): Promise<void> {
  await run('stop', cluster.folder);
}
