/**
 * `npm run bench:chat [-- --short]`: the delay that this service adds to each token, from the engine's write to the
 * reader's read, for every transport, embedded and on Redis, beside the same reader on the engine itself and behind a
 * bare node:http proxy in the same round. Connections and sockets are kept from round to round, as programs that chat
 * keep them; with `--fresh-sockets` each answer over WebSocket opens one, so that fifty of them come in the moment in which
 * the answers begin. Also requests a second of the gateway beside that proxy. Engine, proxy,
 * service and readers are processes of their own. Prints one JSON line a measurement, those of each
 * transport's first streams as round 0, and a table at the end; exits 1 when a token is missing, or where 50 streams
 * have a p99 more than 10 ms above the direct reader's (in the median of `--rounds`: five of these, three with `--short`,
 * and one of others unless asked otherwise). Needs redis-server (or REDIS_URL) for the part on Redis; with all of it about
 * six minutes.
 */
import { loadavg } from 'node:os';
import { parseArgs } from 'node:util';
import autocannon from 'autocannon';
import { startRedisServer } from '../test/support/redis-server.ts';
import { readers, type Target } from './chat-readers.ts';
import { cpuMsOf, serveEngine, startProgram, type Program } from './chat-stage.ts';

const { values } = parseArgs({
  options: {
    short: { type: 'boolean', default: false },
    streams: { type: 'string' },
    tokens: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string', default: '' },
    seconds: { type: 'string' },
    events: { type: 'string', default: 'embedded,redis' },
    'fresh-sockets': { type: 'boolean', default: false },
  },
});
const tokens = Number(values.tokens ?? (values.short ? 100 : 200));
const streamCounts = (values.streams ?? (values.short ? '1,50' : '1,50,200')).split(',').map(Number);
const seconds = Number(values.seconds ?? (values.short ? 2 : 3));
const coldStreams = 50;
/** Of each of them: for as long as the service's code is being optimised, a token costs twice what it costs afterwards. */
const coldTokens = values.short ? 300 : 600;
/** The direct reader's p99 and so much, with so many streams. */
const boundStreams = 50;
const boundMs = 10;
const boundRounds = values.short ? 3 : 5;
const roundsOf = (streams: number): number => Number(values.rounds ?? (streams === boundStreams ? boundRounds : 1));
const isAsked = (name: string): boolean => values.only === '' || name === 'direct' || values.only.split(',').includes(name);

type Figures = {
  streams: number;
  transport: string;
  tokens: number;
  missing: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
  firstThirdP50Ms: number;
  lastThirdP50Ms: number;
  /** Of the process between engine and reader, which tells more than the delay where the machine is busy otherwise. */
  cpuUsPerToken: number;
};
type Row = Figures & { events: string; round: number };

const at = (sorted: readonly number[], share: number): number => Math.round((sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN) * 100) / 100;
const sortedOf = (list: readonly number[]): number[] => [...list].sort((a, b) => a - b);

async function measure(transport: string, streams: number, target: Target, pid: number): Promise<Figures> {
  const read = readers[transport === 'bare proxy' ? 'direct' : transport];
  if (!read) throw new Error(`no transport ${transport}`);
  const cpuBeforeMs = await cpuMsOf(pid);
  const each = await Promise.all(Array.from({ length: streams }, () => read(target)));
  const cpuMs = (await cpuMsOf(pid)) - cpuBeforeMs;
  const all = sortedOf(each.flat());
  const third = (from: number, to: number): number => at(sortedOf(each.flatMap((delays) => delays.slice(Math.floor(delays.length * from), Math.ceil(delays.length * to)))), 0.5);
  const spread = { p50Ms: at(all, 0.5), p99Ms: at(all, 0.99), maxMs: at(all, 1), firstThirdP50Ms: third(0, 1 / 3), lastThirdP50Ms: third(2 / 3, 1) };
  return { streams, transport, tokens: all.length, missing: streams * target.tokens - all.length, ...spread, cpuUsPerToken: Math.round((cpuMs * 1000) / all.length) };
}

async function measureRequests(url: string, headers: Record<string, string>): Promise<{ perSecond: number; p99Ms: number; non2xx: number }> {
  const body = JSON.stringify({ model: 'fake', messages: [{ role: 'user', content: 'Hi' }] });
  const result = await autocannon({ url: `${url}/v1/chat/completions`, method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body, connections: 50, duration: seconds });
  return { perSecond: Math.round(result.requests.average), p99Ms: result.latency.p99, non2xx: result.non2xx + result.errors };
}

async function measureService(events: string, redisUrl: string | null, { engine, proxy }: { engine: Program; proxy: Program }): Promise<Row[]> {
  const service = await serveEngine(engine.url, redisUrl);
  const rows: Row[] = [];
  try {
    const target: Target = { engineUrl: engine.url, url: service.url, key: service.key, deploymentId: service.deploymentId, model: 'fake', tokens, isFresh: values['fresh-sockets'] };
    const subjects = ['bare proxy', ...Object.keys(readers)].filter(isAsked).map((name) => ({ name, pid: name === 'bare proxy' ? proxy.pid : service.pid, target: name === 'bare proxy' ? { ...target, engineUrl: proxy.url } : target }));
    // Code is compiled while it is first used, by the service and by the readers: told as round 0, and not in the table.
    for (const { name, target: each, pid } of subjects) console.log(JSON.stringify({ bench: 'chat', events, round: 0, ...(await measure(name, coldStreams, { ...each, tokens: coldTokens }, pid)) }));
    for (const streams of streamCounts) {
      for (let round = 1; round <= roundsOf(streams); round += 1) {
        for (const { name, target: each, pid } of subjects) {
          const row = { events, round, ...(await measure(name, streams, each, pid)) };
          rows.push(row);
          console.log(JSON.stringify({ bench: 'chat', ...row }));
        }
      }
    }
    if (seconds > 0) {
      const headers = { authorization: `Bearer ${service.key}` };
      await measureRequests(service.url, headers);
      console.log(JSON.stringify({ bench: 'chat requests', events, engine: await measureRequests(engine.url, {}), bareProxy: await measureRequests(proxy.url, {}), gateway: await measureRequests(service.url, headers) }));
    }
  } finally {
    await service.close();
  }
  return rows;
}

/** The same round's row of another subject. */
function beside(rows: readonly Row[], row: Row, transport: string): Row | undefined {
  return rows.find((other) => other.transport === transport && other.events === row.events && other.streams === row.streams && other.round === row.round);
}

function addedMs(rows: readonly Row[], row: Row): number {
  return Math.round((row.p99Ms - (beside(rows, row, 'direct')?.p99Ms ?? Number.NaN)) * 10) / 10;
}

/** Each transport beside the direct reader and the bare proxy of the same round. */
function summarise(rows: readonly Row[]): void {
  console.table(
    rows.map((row) => {
      const bare = beside(rows, row, 'bare proxy');
      const cpu = bare ? Math.round((row.cpuUsPerToken / bare.cpuUsPerToken) * 100) / 100 : Number.NaN;
      return { events: row.events, streams: row.streams, transport: row.transport, p50: row.p50Ms, p99: row.p99Ms, 'p99 - direct': addedMs(rows, row), 'us/token': row.cpuUsPerToken, 'cpu : bare': cpu, missing: row.missing };
    }),
  );
}

/** Of all rounds with so many streams, by transport: what is above the bound. */
function missedBounds(rows: readonly Row[]): string[] {
  const subjects = Object.entries(Object.groupBy(rows.filter(({ streams, transport }) => streams === boundStreams && transport !== 'bare proxy'), ({ events, transport }) => `${events} ${transport}`));
  return subjects.flatMap(([name, each = []]) => {
    const added = at(sortedOf(each.map((row) => addedMs(rows, row))), 0.5);
    return added > boundMs ? [`${name}: p99 ${added} ms above the direct reader's`] : [];
  });
}

const stage: Program[] = [];
const rows: Row[] = [];
try {
  const engine = await startProgram('fake-engine.ts');
  stage.push(engine);
  const proxy = await startProgram('bare-proxy.ts', engine.url);
  stage.push(proxy);
  const wanted = values.events.split(',');
  if (wanted.includes('embedded')) rows.push(...(await measureService('embedded', null, { engine, proxy })));
  if (wanted.includes('redis')) {
    const given = process.env['REDIS_URL'];
    const redis = given === undefined ? await startRedisServer() : null;
    try {
      rows.push(...(await measureService('redis', redis?.url ?? given ?? null, { engine, proxy })));
    } finally {
      await redis?.close();
    }
  }
} finally {
  for (const program of stage) program.close();
}
summarise(rows);
const missed = missedBounds(rows);
console.log(JSON.stringify({ bench: 'chat', missed, load: loadavg().map((value) => Math.round(value * 10) / 10) }));
process.exit(missed.length === 0 && rows.every(({ missing }) => missing === 0) ? 0 : 1);
