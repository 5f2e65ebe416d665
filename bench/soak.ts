/**
 * `npm run bench:soak`: clients of all kinds for a long time (`--minutes`, 20), some of whom break off or send
 * nonsense, and whether the service has grown by it: memory, open files and pending work of the process by its own
 * metrics, every ten seconds. `--redis` runs it on Redis. The seed is printed and can be given again. Prints one JSON
 * line; exits 1 when a client met a fault, or the memory of the last quarter is above 1.1 times
 * that of the second one (both in the median).
 * `--short` is two minutes, which shows faults and no growth.
 */
import { randomInt } from 'node:crypto';
import { loadavg } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { bufferContent } from '../test/support/hub/content.ts';
import { createHub } from '../test/support/hub/hub.ts';
import { startRedisServer } from '../test/support/redis-server.ts';
import { buildSafetensors } from '../test/support/safetensors.ts';
import { seededRandom, type SeededRandom } from '../test/support/seeded-random.ts';
import { serveEngine, startProgram, type ServedEngine } from './chat-stage.ts';
import { actions, type SoakContext } from './soak-clients.ts';

const { values } = parseArgs({ options: { short: { type: 'boolean', default: false }, minutes: { type: 'string' }, clients: { type: 'string', default: '20' }, seed: { type: 'string' }, redis: { type: 'boolean', default: false } } });
const minutes = Number(values.minutes ?? (values.short ? 2 : 20));
const seed = Number(values.seed ?? randomInt(2 ** 31));
const sampleEveryMs = 10_000;
/** Between two things that a client does. */
const pauseMsMax = 400;
const growthMax = 1.1;

/** Names of the service's own metrics. */
const watched = { rssBytes: 'process_resident_memory_bytes', heapBytes: 'nodejs_heap_size_used_bytes', externalBytes: 'nodejs_external_memory_bytes', files: 'process_open_fds', resources: 'nodejs_active_resources_total', requests: 'nodejs_active_requests_total' };
type Sample = Record<keyof typeof watched, number> & { atSeconds: number };

async function sample(service: ServedEngine, startedMs: number): Promise<Sample> {
  const response = await fetch(`${service.url}/metrics`, { headers: { authorization: `Bearer ${service.key}` } });
  const text = await response.text();
  const read = (name: string): number => Number(new RegExp(`^${name} (.+)$`, 'm').exec(text)?.[1] ?? Number.NaN);
  const figures = Object.fromEntries(Object.entries(watched).map(([key, name]) => [key, read(name)])) as Record<keyof typeof watched, number>;
  return { atSeconds: Math.round((performance.now() - startedMs) / 1_000), ...figures };
}

const names = Object.entries(actions).flatMap(([name, { weight }]) => Array.from({ length: weight }, () => name));

/** How often each thing was done, and each fault met. */
type Told = { done: Record<string, number>; faults: Record<string, number> };

async function act(context: SoakContext, until: AbortSignal, told: Told): Promise<void> {
  while (!until.aborted) {
    const name = context.random.pick(names);
    try {
      await actions[name]?.run(context);
      told.done[name] = (told.done[name] ?? 0) + 1;
    } catch (error) {
      // Without ids and times, so that the same fault counts as one.
      const fault = `${name}: ${String(error)}`.replaceAll(/[0-9a-f-]{12,}|\d{4,}/g, '…').slice(0, 200);
      if (fault in told.faults || Object.keys(told.faults).length < 20) told.faults[fault] = (told.faults[fault] ?? 0) + 1;
    }
    await sleep(context.random.below(pauseMsMax));
  }
}

/** Of the samples in that part of the time. */
function median(samples: readonly Sample[], key: keyof typeof watched, from: number, to: number): number {
  const part = samples.slice(Math.floor(samples.length * from), Math.max(1, Math.ceil(samples.length * to))).map((each) => each[key]);
  return part.sort((one, other) => one - other)[Math.floor(part.length / 2)] ?? Number.NaN;
}

async function soak(service: ServedEngine, context: Omit<SoakContext, 'random'>, random: SeededRandom): Promise<boolean> {
  const over = new AbortController();
  const told: Told = { done: {}, faults: {} };
  const clients = Array.from({ length: Number(values.clients) }, () => act({ ...context, random: seededRandom(random.below(2 ** 31)) }, over.signal, told));
  const samples: Sample[] = [];
  const startedMs = performance.now();
  while (performance.now() - startedMs < minutes * 60_000) {
    await sleep(sampleEveryMs);
    const now = await sample(service, startedMs);
    samples.push(now);
    console.error(JSON.stringify(now));
  }
  over.abort();
  await Promise.all(clients);
  const growth = Object.fromEntries((Object.keys(watched) as (keyof typeof watched)[]).map((key) => [key, { second: median(samples, key, 0.25, 0.5), last: median(samples, key, 0.75, 1) }]));
  const rss = growth['rssBytes'] ?? { second: 0, last: 0 };
  const rssRatio = Math.round((rss.last / rss.second) * 100) / 100;
  const hasGrown = minutes >= 10 && rssRatio > growthMax;
  console.log(JSON.stringify({ bench: 'soak', seed, minutes, events: values.redis ? 'redis' : 'embedded', ...told, growth, rssRatio, load: loadavg()[0] }));
  return Object.keys(told.faults).length === 0 && !hasGrown;
}

console.error(`seed ${seed}: ${values.clients} clients for ${minutes} minutes`);
const random = seededRandom(seed);
const modelIds = Array.from({ length: 4 }, (_, index) => `soak/m${index}`);
const hub = await createHub({ repos: modelIds.map((id, index) => ({ id, files: [{ path: 'model.safetensors', content: bufferContent(buildSafetensors((index + 1) * 1024 * 1024)) }] })) });
const engine = await startProgram('fake-engine.ts');
const redis = values.redis ? await startRedisServer() : null;
const service = await serveEngine(engine.url, redis?.url ?? null, { HF_ENDPOINT: hub.endpoint });
try {
  const target = { engineUrl: engine.url, url: service.url, key: service.key, deploymentId: service.deploymentId, model: 'fake', tokens: 0, isFresh: true };
  process.exitCode = (await soak(service, { target, modelIds: modelIds.map((id) => `huggingface:${id}`) }, random)) ? 0 : 1;
} finally {
  await service.close();
  engine.close();
  await redis?.close();
  await hub.close();
}
