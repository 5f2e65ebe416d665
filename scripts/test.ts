/** Runs jest with the flags ESM needs: `node scripts/test.ts [project...] [jest arguments...]`. */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const projects = ['unit', 'contract', 'integration', 'e2e'];
const given = process.argv.slice(2);
const selected = given.filter((argument) => projects.includes(argument));
const rest = given.filter((argument) => !projects.includes(argument));
const jest = fileURLToPath(import.meta.resolve('jest/bin/jest'));
const child = spawn(
  process.execPath,
  ['--experimental-vm-modules', '--disable-warning=ExperimentalWarning', jest, ...rest, ...(selected.length ? ['--selectProjects', ...selected] : [])],
  { stdio: 'inherit' },
);
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)));
