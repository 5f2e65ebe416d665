/**
 * Runs jest with the flags ESM needs: `node scripts/test.ts [project...] [jest arguments...]`. What kills
 * a download at every step, or drops a reader after each of 200 pieces, takes minutes: `--long` runs it too. Tests of Redis need its program.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { findInPath } from '../src/platform/programs.ts';

const projects = ['unit', 'contract', 'integration', 'e2e'];
const longTests = ['integration/downloads/kill-each-step', 'integration/chat/resume-each-piece'];
const redisTests = ['contract/event-bus\\.redis', 'contract/token-stream\\.redis', 'integration/infrastructure/(wait-for-redis|redis-outages)', 'e2e/two-processes'];

async function leftOut(isLong: boolean): Promise<string[]> {
  const hasRedis = (await findInPath('redis-server', process.env['PATH'])) !== null;
  if (!isLong) console.log(`Left out, as they take minutes (--long runs them): ${longTests.join(', ')}`);
  if (!hasRedis) console.log(`Left out, as redis-server is not installed: ${redisTests.join(', ')}`);
  return [...(isLong ? [] : longTests), ...(hasRedis ? [] : redisTests)].map((pattern) => `--testPathIgnorePatterns=test/${pattern}`);
}

const given = process.argv.slice(2);
const selected = given.filter((argument) => projects.includes(argument));
const rest = given.filter((argument) => !projects.includes(argument) && argument !== '--long');
// A test that is asked for by its name runs, however long it takes.
const isLong = given.includes('--long') || rest.some((argument) => longTests.some((name) => argument !== '' && name.includes(argument)));
const jest = fileURLToPath(import.meta.resolve('jest/bin/jest'));
const child = spawn(
  process.execPath,
  ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', jest, ...rest, ...(await leftOut(isLong)), ...(selected.length ? ['--selectProjects', ...selected] : [])],
  { stdio: 'inherit', env: { ...process.env, ...(isLong && { LLM_MANAGER_TEST_LONG: '1' }) } },
);
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
