/**
 * Runs jest with the flags ESM needs: `node scripts/test.ts [project...] [jest arguments...]`. Whole scenarios (a
 * service killed, a database or an engine taken away, a demo from end to end) take half a minute and more each:
 * `--scenarios` runs these alone, as CI does after the others, `--all` those and the others. What kills a download at
 * every step, or drops a reader after each of 200 pieces, takes minutes: `--long` runs everything. Tests of Redis need
 * its program.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { findInPath } from '../src/platform/programs.ts';

const projects = ['unit', 'contract', 'integration', 'e2e'];
const flags = ['--scenarios', '--all', '--long'];
const scenarios = [
  ...['two-processes', 'kill-nine', 'database-outage', 'docker', 'demo', 'generated-input', 'cli-commands', 'cli-storage', 'cli-run', 'process-life'].map((name) => `e2e/${name}`),
  'contract/deployments/docker',
  'integration/deployments/recovery',
  'integration/downloads/disk-full',
  'integration/downloads/transfer-kill',
  'integration/deployments/llama-cpp-engine-life',
  'integration/infrastructure/embedded-database',
  'integration/infrastructure/job-queue',
];
const longTests = ['integration/downloads/kill-each-step', 'integration/chat/resume-each-piece'];
const redisTests = ['contract/event-bus\\.redis', 'contract/token-stream\\.redis', 'contract/request-limiter\\.redis', 'integration/infrastructure/(wait-for-redis|redis-outages)', 'e2e/two-processes'];

/** `--`, as `npm test -- ...` wants it, would make names of files of all that follows. */
const given = process.argv.slice(2).filter((argument) => argument !== '--');
const selected = given.filter((argument) => projects.includes(argument));
const rest = given.filter((argument) => !projects.includes(argument) && !flags.includes(argument));
const isOnlyScenarios = given.includes('--scenarios');
const isLong = given.includes('--long');
/** Scenarios wait more than they work: for processes to start, for one that is taken away to be missed. */
const scenarioWorkers = isOnlyScenarios && !rest.some((argument) => argument.startsWith('--maxWorkers')) ? ['--maxWorkers=3'] : [];

/** What is asked for by its name runs, however long it takes. */
function isNamed(test: string): boolean {
  return rest.some((argument) => argument.includes(test.slice(test.lastIndexOf('/') + 1)));
}

async function leftOut(): Promise<string[]> {
  const hasRedis = (await findInPath('redis-server', process.env['PATH'])) !== null;
  const tooLong = isLong ? [] : longTests.filter((test) => !isNamed(test));
  const others = isLong || isOnlyScenarios || given.includes('--all') ? [] : scenarios.filter((test) => !isNamed(test));
  if (tooLong.length > 0) console.log(`Left out, as they take minutes (--long runs them): ${tooLong.join(', ')}`);
  if (others.length > 0) console.log(`Left out, as they are long scenarios (npm run test:scenarios): ${others.join(', ')}`);
  if (!hasRedis) console.log(`Left out, as redis-server is not installed: ${redisTests.join(', ')}`);
  return [...tooLong, ...others, ...(hasRedis ? [] : redisTests)].map((pattern) => `--testPathIgnorePatterns=test/${pattern}`);
}

/** The programs of the tests share what the service keeps of compiled code: reading TypeScript is half of a small one's work. */
const compileCache = process.env['NODE_COMPILE_CACHE'] ?? fileURLToPath(new URL('../node_modules/.cache/llm-manager', import.meta.url));
const patterns = isOnlyScenarios ? scenarios.map((pattern) => `test/${pattern}`) : [];
const jest = fileURLToPath(import.meta.resolve('jest/bin/jest'));
const child = spawn(
  process.execPath,
  ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', jest, ...rest, ...scenarioWorkers, ...patterns, ...(await leftOut()), ...(selected.length ? ['--selectProjects', ...selected] : [])],
  { stdio: 'inherit', env: { ...process.env, NODE_COMPILE_CACHE: compileCache, ...(isLong && { LLM_MANAGER_TEST_LONG: '1' }) } },
);
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
