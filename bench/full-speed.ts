/**
 * `npm run bench:full-speed` (experiment E7): one large file at full speed from loopback to a disk, hashed and scanned,
 * beside curl to the same disk, in interleaved rounds; and how busy the main thread is meanwhile. `--short` is the form
 * for CI; exits 1 below a floor.
 */
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { startChildProgram } from '../test/support/child-program.ts';

const run = promisify(execFile);
const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, rounds: { type: 'string' }, bytes: { type: 'string' }, dir: { type: 'string' } } });
const MiB = 1024 * 1024;
const bytes = Number(values.bytes ?? (values.short ? 64 : 4096) * MiB);
const rounds = Number(values.rounds ?? (values.short ? 1 : 3));
const floors = { ofCurl: 0.85, loopBusy: 0.3, loopDelayP99Ms: 50 };

type Fetched = { results: { seconds: number }[]; loopBusy: number; loopDelayP99Ms: number; cpuSeconds: number; rssMb: number };

const program = (name: string): string => fileURLToPath(new URL(`./downloads/${name}`, import.meta.url));
const median = (numbers: readonly number[]): number => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? NaN;
const round2 = (value: number): number => Math.round(value * 100) / 100;

const folder = await mkdtemp(path.join(values.dir ?? tmpdir(), 'llm-manager-speed-'));
const server = startChildProgram(program('file-server.ts'), []);
const curl: number[] = [];
const ours: Fetched[] = [];
const emptied = async (): Promise<void> => {
  for (const name of await readdir(folder)) await rm(path.join(folder, name));
};
/** Null where there is none. */
async function timeOfCurl(url: string): Promise<number | null> {
  const startedAt = performance.now();
  try {
    await run('curl', ['-sf', '-o', path.join(folder, 'curl'), url]);
    return (performance.now() - startedAt) / 1000;
  } catch (error) {
    if (String(error).includes('ENOENT')) return null;
    throw error;
  }
}

try {
  const url = `http://127.0.0.1:${Number((await server.nextLine())['port'])}/${bytes}`;
  for (let round = 1; round <= rounds; round += 1) {
    const seconds = await timeOfCurl(url);
    if (seconds !== null) curl.push(seconds);
    await emptied();
    const { stdout } = await run(process.execPath, [program('fetch.ts'), url, String(bytes), path.join(folder, 'ours'), 'auto', '1', 'scan'], { maxBuffer: MiB });
    ours.push(JSON.parse(stdout) as Fetched);
    await emptied();
    console.error(`round ${round}: curl ${curl.at(-1)?.toFixed(2) ?? ''} s, ours ${ours.at(-1)?.results[0]?.seconds.toFixed(2) ?? ''} s, load ${loadavg()[0]?.toFixed(1) ?? ''}`);
  }
  const seconds = median(ours.flatMap(({ results }) => results.map((result) => result.seconds)));
  const of = (pick: (fetched: Fetched) => number): number => round2(median(ours.map(pick)));
  const figures = { ofCurl: curl.length === 0 ? null : round2(median(curl) / seconds), loopBusy: of(({ loopBusy }) => loopBusy), loopDelayP99Ms: of(({ loopDelayP99Ms }) => loopDelayP99Ms), cpuSeconds: of(({ cpuSeconds }) => cpuSeconds), rssMb: of(({ rssMb }) => rssMb) };
  const faults = [
    ...(figures.ofCurl !== null && figures.ofCurl < floors.ofCurl ? [`only ${figures.ofCurl} of curl's speed`] : []),
    ...(figures.loopBusy > floors.loopBusy ? [`the main thread was busy for ${figures.loopBusy} of the time`] : []),
    ...(figures.loopDelayP99Ms > floors.loopDelayP99Ms ? [`the event loop was late by ${figures.loopDelayP99Ms} ms`] : []),
  ];
  console.log(JSON.stringify({ bench: 'full-speed', mib: Math.round(bytes / MiB), rounds, megabytesPerSecond: Math.round(bytes / 1e6 / seconds), ...figures, load: loadavg()[0], faults }));
  // A short run says whether it works, not how quick it is.
  if (!values.short && faults.length > 0) process.exitCode = 1;
} finally {
  await server.kill('SIGTERM');
  await rm(folder, { recursive: true, force: true });
}
