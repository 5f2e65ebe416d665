/**
 * `npm run bench:downloads`: our transfer engine beside curl and aria2c on the same plain file server over loopback, in
 * the same run, in interleaved rounds, because a shared machine's speed changes from minute to minute. Prints tables and
 * one JSON line; exits 1 below a floor. `--short` is the form for CI: small files, no floors of speed.
 */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, statfs } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { startChildProgram } from '../test/support/child-program.ts';

const run = promisify(execFile);
const { values } = parseArgs({
  options: { short: { type: 'boolean', default: false }, rounds: { type: 'string' }, bytes: { type: 'string' }, dir: { type: 'string' }, only: { type: 'string' } },
});
const MiB = 1024 * 1024;
const isShort = values.short;
const rounds = Number(values.rounds ?? (isShort ? 1 : 5));
const bigBytes = Number(values.bytes ?? (isShort ? 128 : 2048) * MiB);
/** With a limit for each connection: what one of them gets. */
const limitedBytesPerSecond = 20e6;
/** Above the size from which all connections are used. */
const limitedBytes = (isShort ? 288 : 1024) * MiB;
const oneConnectionBytes = (isShort ? 20 : 100) * 1e6;
const tasks = 8;
const taskBytes = (isShort ? 16 : 128) * MiB;
const floors = { ofAria2: 0.9, ofOneConnection: 14, hashLagSeconds: 0.1, slowestOfFastest: 1.25 };

type Row = { seconds: number; cpuSeconds: number | null; rssMb: number | null };
type Fetched = Row & { results: { seconds: number; hashLagSeconds: number; sha256: string }[]; loopBusy: number; loopDelayP99Ms: number };

const program = (name: string): string => fileURLToPath(new URL(`./downloads/${name}`, import.meta.url));

/** Memory where there is room, so that the tools are compared and not the disk. */
async function openFolder(): Promise<string> {
  const shm = '/dev/shm';
  const hasRoom = existsSync(shm) && (await statfs(shm).then(({ bavail, bsize }) => bavail * bsize)) > 2 * bigBytes;
  return await mkdtemp(path.join(values.dir ?? (hasRoom ? shm : tmpdir()), 'llm-manager-bench-'));
}

async function emptied(folder: string): Promise<string> {
  for (const name of await readdir(folder)) await rm(path.join(folder, name));
  return folder;
}

/** A command with its time, CPU seconds and memory; null when it is not installed. */
async function timed(command: string, args: readonly string[]): Promise<Row | null> {
  const hasTime = existsSync('/usr/bin/time');
  const startedAt = performance.now();
  try {
    const { stderr } = hasTime ? await run('/usr/bin/time', ['-f', 'time %U %S %M', command, ...args]) : await run(command, [...args]);
    const seconds = (performance.now() - startedAt) / 1000;
    const [, user, system, kilobytes] = /time ([\d.]+) ([\d.]+) (\d+)/.exec(stderr) ?? [];
    return { seconds, cpuSeconds: user === undefined ? null : Number(user) + Number(system), rssMb: kilobytes === undefined ? null : Number(kilobytes) / 1024 };
  } catch (error) {
    if (/ENOENT|No such file/.test(String(error))) return null;
    throw error;
  }
}

async function fetchOurs(url: string, bytes: number, folder: string, options: { kind?: string; count?: number } = {}): Promise<Fetched> {
  const { kind = 'auto', count = 1 } = options;
  const args = [program('fetch.ts'), url, String(bytes), path.join(folder, 'ours'), kind, String(count)];
  const { stdout } = await run(process.execPath, args, { maxBuffer: MiB });
  const fetched = JSON.parse(stdout) as Omit<Fetched, 'seconds'>;
  const digests = new Set(fetched.results.map(({ sha256 }) => sha256));
  if (digests.size !== 1) throw new Error('the same bytes came with different digests');
  return { ...fetched, seconds: Math.max(...fetched.results.map(({ seconds }) => seconds)) };
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? (sorted[middle] ?? NaN) : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

const round2 = (value: number): number => Math.round(value * 100) / 100;

async function compare(url: string, folder: string): Promise<{ table: Record<string, object>; ofAria2: number | null }> {
  const found = new Map<string, Row[]>();
  const contenders: Record<string, () => Promise<Row | null>> = {
    'curl, 1 connection, no hash': async () => timed('curl', ['-sf', '-o', path.join(await emptied(folder), 'curl'), url]),
    'aria2c -x16, no hash': async () => timed('aria2c', ['-q', '-x16', '-s16', '--file-allocation=none', '-d', await emptied(folder), '-o', 'aria2', url]),
    'ours, SHA-256': async () => fetchOurs(url, bigBytes, await emptied(folder)),
    'ours by undici, SHA-256': async () => fetchOurs(url, bigBytes, await emptied(folder), { kind: 'undici' }),
  };
  for (let round = 1; round <= rounds; round += 1) {
    for (const [name, contender] of Object.entries(contenders)) {
      if (values.only !== undefined && !name.includes(values.only) && !name.startsWith('aria2c')) continue;
      const row = await contender();
      if (!row) continue;
      found.set(name, [...(found.get(name) ?? []), row]);
      console.error(`round ${round}: ${name}: ${row.seconds.toFixed(2)} s, load ${loadavg()[0]?.toFixed(1) ?? ''}`);
    }
  }
  const secondsOf = (name: string): number[] => (found.get(name) ?? []).map(({ seconds }) => seconds);
  const aria2 = median(secondsOf('aria2c -x16, no hash'));
  const table = [...found].map(([name, rows]) => {
    const seconds = median(rows.map((row) => row.seconds));
    const [cpu, rss] = [rows.flatMap(({ cpuSeconds }) => cpuSeconds ?? []), rows.flatMap(({ rssMb }) => rssMb ?? [])];
    return [name, { 'MB/s': Math.round(bigBytes / 1e6 / seconds), 'of aria2c': round2(aria2 / seconds), 'CPU s': round2(median(cpu)), 'RSS MB': Math.round(median(rss)) }] as const;
  });
  const ratio = aria2 / median(secondsOf('ours, SHA-256'));
  return { table: Object.fromEntries(table), ofAria2: Number.isNaN(ratio) ? null : ratio };
}

async function compareLimited(base: string, folder: string): Promise<{ ofOneConnection: number; hashLagSeconds: number; megabytesPerSecond: number }> {
  const ratios: number[] = [];
  const lags: number[] = [];
  const speeds: number[] = [];
  for (let round = 1; round <= Math.min(3, rounds); round += 1) {
    const one = await timed('curl', ['-sf', '-o', path.join(await emptied(folder), 'curl'), `${base}/limited/${oneConnectionBytes}`]);
    const oneSpeed = one ? oneConnectionBytes / one.seconds : limitedBytesPerSecond;
    const ours = await fetchOurs(`${base}/limited/${limitedBytes}`, limitedBytes, await emptied(folder));
    ratios.push(limitedBytes / ours.seconds / oneSpeed);
    lags.push(ours.results[0]?.hashLagSeconds ?? NaN);
    speeds.push(limitedBytes / 1e6 / ours.seconds);
  }
  return { ofOneConnection: round2(median(ratios)), hashLagSeconds: round2(median(lags)), megabytesPerSecond: Math.round(median(speeds)) };
}

async function fairness(base: string, folder: string): Promise<{ slowestOfFastest: number; seconds: number[] }> {
  const { results } = await fetchOurs(`${base}/limited/${taskBytes}`, taskBytes, await emptied(folder), { count: tasks });
  const seconds = results.map((result) => round2(result.seconds)).sort((a, b) => a - b);
  return { slowestOfFastest: round2((seconds.at(-1) ?? NaN) / (seconds[0] ?? NaN)), seconds };
}

const folder = await openFolder();
const server = startChildProgram(program('file-server.ts'), [String(limitedBytesPerSecond), '40']);
const loadBefore = loadavg()[0] ?? 0;
try {
  const base = `http://127.0.0.1:${Number((await server.nextLine())['port'])}`;
  const { table, ofAria2 } = await compare(`${base}/${bigBytes}`, folder);
  console.log(`${Math.round(bigBytes / MiB)} MiB over loopback into ${folder}, medians of ${rounds} rounds`);
  console.table(table);
  const limited = await compareLimited(base, folder);
  console.log(`${limitedBytesPerSecond / 1e6} MB/s and 40 ms to the first byte for each connection`);
  console.table({ 'ours, 16 connections': limited });
  const fair = await fairness(base, folder);
  console.log(`${tasks} files at once, fetched in ${fair.seconds.join(', ')} s`);
  const faults = [
    ofAria2 !== null && ofAria2 < floors.ofAria2 ? `only ${round2(ofAria2)} of aria2c's speed` : null,
    limited.ofOneConnection < floors.ofOneConnection ? `only ${limited.ofOneConnection} times one connection` : null,
    limited.hashLagSeconds > floors.hashLagSeconds ? `the hash ended ${limited.hashLagSeconds} s after the last byte` : null,
    fair.slowestOfFastest > floors.slowestOfFastest ? `the slowest of ${tasks} took ${fair.slowestOfFastest} times as long as the fastest` : null,
  ].filter((fault) => fault !== null);
  console.log(JSON.stringify({ bench: 'downloads', table, ofAria2, limited, fair, load: [loadBefore, loadavg()[0]], faults }));
  // A short run says whether it works, not how quick it is.
  if (!isShort && faults.length > 0) process.exitCode = 1;
} finally {
  await server.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
