/**
 * `npm run bench:kills`: the whole service is killed with SIGKILL at random moments while it downloads, and started
 * again on the same data. Every download has to end completed with the right bytes, none lost and none doubled. The
 * seed is printed and can be given again. `--short` is the form for CI; exits 1 when a promise was broken.
 */
import { createHash, randomInt } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { bufferContent } from '../test/support/hub/content.ts';
import { createHub } from '../test/support/hub/hub.ts';
import { processesNaming } from '../test/support/processes.ts';
import { buildSafetensors } from '../test/support/safetensors.ts';
import { seededRandom } from '../test/support/seeded-random.ts';
import { type ServiceProcess, startService } from '../test/support/service-process.ts';

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, kills: { type: 'string' }, seed: { type: 'string' } } });
const MiB = 1024 * 1024;
const kills = Number(values.kills ?? (values.short ? 5 : 200));
const tasks = values.short ? 3 : 8;
const taskBytes = (values.short ? 24 : 64) * MiB;
const seed = Number(values.seed ?? randomInt(2 ** 31));
/** So slow that a kill finds something to interrupt, and so quick that all of it ends. */
const bytesPerSecond = 4 * MiB;
const lifeMsMax = 4_000;
const readyMsMax = 5_000;
const againBytesMax = 16 * MiB;

type Task = { task_id: string; model_id: string; status: string };

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}

class Api {
  service: ServiceProcess;

  constructor(service: ServiceProcess) {
    this.service = service;
  }

  async call(method: string, route: string, body?: object): Promise<Record<string, unknown>> {
    const headers = { authorization: `Bearer ${this.service.key}`, 'content-type': 'application/json' };
    const response = await fetch(`${this.service.url}/api${route}`, { method, headers, ...(body ? { body: JSON.stringify(body) } : {}) });
    const answer = (await response.json()) as Record<string, unknown>;
    if (!response.ok) throw new Error(`${method} ${route}: ${JSON.stringify(answer)}`);
    return answer;
  }

  async tasks(): Promise<Task[]> {
    return (await this.call('GET', '/downloads/list?limit=100'))['items'] as Task[];
  }
}

const random = seededRandom(seed);
console.error(`seed ${seed}: ${kills} kills, ${tasks} downloads of ${taskBytes / MiB} MiB`);
const contents = Array.from({ length: tasks }, (_, index) => {
  const bytes = buildSafetensors(taskBytes);
  // Different files: the last bytes are data.
  bytes.writeUInt32LE(index + 1, bytes.length - 4);
  return bytes;
});
const hub = await createHub({ cdnBytesPerSecond: bytesPerSecond, repos: contents.map((bytes, index) => ({ id: `kill/m${index}`, files: [{ path: 'model.safetensors', content: bufferContent(bytes) }] })) });
const folder = await mkdtemp(path.join(tmpdir(), 'llm-manager-kills-'));
const env = { HF_ENDPOINT: hub.endpoint };
const faults: string[] = [];
const readyMs: number[] = [];
let api = new Api(await startService({ dataDir: folder, env }));

async function startAll(): Promise<void> {
  for (let index = 0; index < tasks; index += 1) await api.call('POST', '/downloads/start', { model_id: `huggingface:kill/m${index}`, include: ['model.safetensors'] });
}

async function checkFiles(): Promise<void> {
  const root = path.join(folder, 'hf');
  const entries = await readdir(root, { recursive: true, withFileTypes: true });
  for (const entry of entries.filter((candidate) => candidate.isFile() && /\/blobs$/.test(candidate.parentPath))) {
    if (entry.name !== (await sha256Of(path.join(entry.parentPath, entry.name)))) faults.push(`${entry.name} is unknown or wrong`);
  }
  const blobs = entries.filter((entry) => entry.isFile() && entry.parentPath.endsWith('/blobs')).length;
  if (blobs !== tasks) faults.push(`${blobs} files instead of ${tasks}`);
}

/** Waits until all are done, looks at them, and takes them away for the next round. */
async function finishRound(): Promise<void> {
  for (;;) {
    const all = await api.tasks();
    if (all.length !== tasks || new Set(all.map(({ model_id }) => model_id)).size !== tasks) faults.push(`${all.length} tasks instead of ${tasks}`);
    faults.push(...all.filter(({ status }) => status === 'failed').map(({ task_id }) => `${task_id} failed`));
    if (faults.length > 0 || all.every(({ status }) => status === 'completed')) break;
    await sleep(250);
  }
  await checkFiles();
  for (const { task_id: id } of await api.tasks()) await api.call('DELETE', `/downloads/${id}?delete_files=true`);
}

try {
  await startAll();
  let sent = 0;
  for (let kill = 1; kill <= kills && faults.length === 0; kill += 1) {
    await sleep(random.next() * lifeMsMax);
    await api.service.end('SIGKILL');
    const startedAt = performance.now();
    api = new Api(await startService({ dataDir: folder, env }));
    readyMs.push(performance.now() - startedAt);
    const all = await api.tasks();
    if (!all.every(({ status }) => status === 'completed')) continue;
    await finishRound();
    sent += tasks * taskBytes;
    await startAll();
    console.error(`kill ${kill}: a round is done`);
  }
  await finishRound();
  sent += tasks * taskBytes;
  const asked = hub.requests.entries.filter(({ server }) => server === 'cdn').reduce((sum, { bytesSent }) => sum + bytesSent, 0);
  const againPerKill = (asked - sent) / kills;
  // All tasks that ran when the kill came share the figure.
  if (againPerKill > againBytesMax) faults.push(`${Math.round(againPerKill / MiB)} MiB were fetched again for each kill`);
  const slowest = Math.max(...readyMs);
  if (!values.short && slowest > readyMsMax) faults.push(`ready only after ${Math.round(slowest)} ms`);
  console.log(JSON.stringify({ bench: 'kills', seed, kills, tasks, againMiBPerKill: Math.round((againPerKill / MiB) * 10) / 10, readyMsMax: Math.round(slowest), faults }));
} finally {
  await api.service.end('SIGTERM');
  await hub.close();
  // What a killed service leaves behind, its database above all.
  for (const { pid } of await processesNaming(folder)) process.kill(pid, 'SIGKILL');
  await rm(folder, { recursive: true, force: true });
}
process.exitCode = faults.length > 0 ? 1 : 0;
