/**
 * `npm run test:external`: the integration suite once more, on an installed PostgreSQL and Redis in place of the
 * embedded ones. PostgreSQL's programs are looked for in POSTGRES_BIN, then in Debian's folders; `redis-server` in
 * PATH. Arguments go to jest.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../src/platform/free-port.ts';
import { notOnThem, tooLong } from './external-tests.ts';

/** PostgreSQL refuses root. */
const nobody = 65_534;
const debianFolder = '/usr/lib/postgresql';

function postgresBin(): string {
  const newest = existsSync(debianFolder) ? readdirSync(debianFolder).sort((a, b) => Number(b) - Number(a))[0] : undefined;
  const bin = process.env['POSTGRES_BIN'] ?? (newest === undefined ? undefined : path.join(debianFolder, newest, 'bin'));
  if (bin === undefined || !existsSync(path.join(bin, 'initdb'))) throw new Error('No PostgreSQL programs found: set POSTGRES_BIN to the folder of initdb.');
  return bin;
}

const bin = postgresBin();
const folder = mkdtempSync(path.join(tmpdir(), 'llmm-external-'));
const cluster = path.join(folder, 'cluster');
const isRoot = process.getuid?.() === 0;
const asUser = isRoot ? { uid: nobody, gid: nobody } : {};
if (isRoot) {
  chmodSync(folder, 0o711);
  chownSync(folder, nobody, nobody);
}
const [postgresPort, redisPort] = [await freePort(), await freePort()];
const password = randomBytes(12).toString('hex');
const passwordFile = path.join(folder, 'password');
writeFileSync(passwordFile, password);
execFileSync(path.join(bin, 'initdb'), ['-D', cluster, '-U', 'llmm', '--auth=scram-sha-256', `--pwfile=${passwordFile}`, '--no-sync', '-E', 'UTF8', '--locale=C'], { ...asUser, stdio: ['ignore', 'ignore', 'inherit'] });
const settings = { port: String(postgresPort), listen_addresses: '127.0.0.1', unix_socket_directories: '', fsync: 'off', max_connections: '200', log_min_messages: 'fatal' };
const servers = [
  spawn(path.join(bin, 'postgres'), ['-D', cluster, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])], { ...asUser, stdio: ['ignore', 'ignore', 'inherit'] }),
  spawn('redis-server', ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--dir', folder], { stdio: ['ignore', 'ignore', 'inherit'] }),
];

async function runTests(): Promise<number> {
  const tests = fileURLToPath(new URL('test.ts', import.meta.url));
  const env = { ...process.env, TEST_DATABASE_URL: `postgresql://llmm:${password}@127.0.0.1:${postgresPort}/postgres`, TEST_REDIS_URL: `redis://127.0.0.1:${redisPort}` };
  const child = spawn(process.execPath, [tests, 'integration', '--all', ...process.argv.slice(2), ...[...notOnThem, ...tooLong].map((pattern) => `--testPathIgnorePatterns=test/integration/${pattern}`)], { stdio: 'inherit', env });
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}

async function end(): Promise<void> {
  for (const server of servers) {
    if (server.exitCode !== null || server.signalCode !== null) continue;
    const ended = once(server, 'exit');
    // For PostgreSQL the quick way: whoever is connected is cut.
    server.kill('SIGINT');
    await ended;
  }
  rmSync(folder, { recursive: true, force: true });
}

let code = 1;
try {
  console.log(`PostgreSQL of ${bin} on port ${postgresPort}, Redis on port ${redisPort}`);
  code = await runTests();
} finally {
  await end();
}
process.exit(code);
