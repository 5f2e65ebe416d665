/**
 * `npm run bench:events [-- --short]`: the delay from an event's publication to each of its subscribers at a steady
 * rate, in one process and over Redis to another process, beside a plain EventEmitter and ioredis alone in the same run.
 * Needs redis-server. Prints a table and one JSON line; exits 1 when an event did not come.
 */
import { EventEmitter } from 'node:events';
import { loadavg } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { InProcessEventBus } from '../src/infrastructure/events/in-process-event-bus.ts';
import { systemClock } from '../src/infrastructure/system-clock.ts';
import { newId } from '../src/shared/ids.ts';
import { startChildProgram } from '../test/support/child-program.ts';
import { openRedisProcess } from '../test/support/redis-process.ts';
import { startRedisServer } from '../test/support/redis-server.ts';
import { bareChannel, Delays, stamp, stampedLine, subscribeAll, topic, warmUpEvents, type Figures } from './event-delays.ts';

const { values } = parseArgs({
  options: { short: { type: 'boolean', default: false }, seconds: { type: 'string' }, rate: { type: 'string', default: '50' }, subscribers: { type: 'string', default: '1,100,1000' } },
});
const perSecond = Number(values.rate);
const seconds = Number(values.seconds ?? (values.short ? '1' : '5'));
const events = perSecond * seconds;
const counts = values.subscribers.split(',').map(Number);
/** After the last event; what is not there then does not come. */
const graceMs = 10_000;
const timeoutMs = ((events + warmUpEvents) / perSecond) * 1000 + graceMs;

type Row = Figures & { path: 'emitter' | 'in process' | 'ioredis' | 'redis'; subscribers: number };

/** By the clock and not one after another, so that a slow event does not make the next ones fewer. */
async function publishSteadily(publish: () => void): Promise<void> {
  const startMs = performance.now();
  for (let sent = 0; sent < warmUpEvents + events; sent += 1) {
    await delay(Math.max(0, startMs + (sent * 1000) / perSecond - performance.now()));
    publish();
  }
}

async function measureEmitter(subscribers: number): Promise<Figures> {
  const emitter = new EventEmitter().setMaxListeners(0);
  const delays = new Delays({ subscribers, events });
  for (let index = 0; index < subscribers; index += 1) {
    let position = 0;
    emitter.on(topic, (event: ReturnType<typeof stampedLine>) => {
      delays.add(event.line.message, position);
      position += 1;
    });
  }
  await publishSteadily(() => emitter.emit(topic, stampedLine('bench')));
  return delays.figures();
}

async function measureInProcess(subscribers: number): Promise<Figures> {
  const bus = new InProcessEventBus({ clock: systemClock });
  const measured = subscribeAll(bus, { subscribers, events }, AbortSignal.timeout(timeoutMs));
  await publishSteadily(() => bus.publish(topic, 'bench', stampedLine('bench')));
  const figures = await measured;
  await bus.close();
  return figures;
}

/** The subscribers are in a process of their own, which says when they listen. */
async function measureElsewhere(mode: 'bus' | 'bare', options: { socket: string; prefix: string; subscribers: number }, publish: () => void): Promise<Figures> {
  const file = fileURLToPath(new URL('./event-subscribers.ts', import.meta.url));
  const child = startChildProgram(file, [mode, options.socket, options.prefix, String(options.subscribers), String(events), String(timeoutMs)]);
  try {
    await child.nextLine();
    await publishSteadily(publish);
    return (await child.nextLine()) as Figures;
  } finally {
    await child.kill('SIGKILL');
  }
}

async function measureIoredis(socket: string): Promise<Figures> {
  const redis = new Redis({ path: socket });
  try {
    return await measureElsewhere('bare', { socket, prefix: '', subscribers: 1 }, () => void redis.publish(bareChannel, stamp()).catch(() => undefined));
  } finally {
    redis.disconnect();
  }
}

async function measureRedis(socket: string, subscribers: number): Promise<Figures> {
  const prefix = newId();
  const service = await openRedisProcess(`unix://${socket}`, prefix);
  try {
    return await measureElsewhere('bus', { socket, prefix, subscribers }, () => service.bus.publish(topic, 'bench', stampedLine('bench')));
  } finally {
    await service.close();
  }
}

async function measureAll(): Promise<Row[]> {
  const rows: Row[] = [];
  for (const subscribers of counts) {
    rows.push({ path: 'emitter', subscribers, ...(await measureEmitter(subscribers)) });
    rows.push({ path: 'in process', subscribers, ...(await measureInProcess(subscribers)) });
  }
  const server = await startRedisServer();
  try {
    const socket = new URL(server.url).pathname;
    rows.push({ path: 'ioredis', subscribers: 1, ...(await measureIoredis(socket)) });
    for (const subscribers of counts) rows.push({ path: 'redis', subscribers, ...(await measureRedis(socket, subscribers)) });
  } finally {
    await server.close();
  }
  return rows;
}

/** In process: to the emitter with as many listeners. Over Redis: to ioredis with its one subscriber. */
function withRatios(rows: readonly Row[]): (Row & { ofBareP50?: number; ofBareP99?: number })[] {
  const ratio = (value: number, bare: number): number => Math.round((value / bare) * 100) / 100;
  return rows.map((row) => {
    const bare = rows.find(({ path, subscribers }) => (row.path === 'in process' && path === 'emitter' && subscribers === row.subscribers) || (row.path === 'redis' && path === 'ioredis'));
    return bare ? { ...row, ofBareP50: ratio(row.p50Ms, bare.p50Ms), ofBareP99: ratio(row.p99Ms, bare.p99Ms) } : row;
  });
}

const loadBefore = loadavg()[0];
const table = withRatios(await measureAll());
console.table(table);
console.log(JSON.stringify({ bench: 'events', perSecond, seconds, load: [loadBefore, loadavg()[0]], table }));
process.exit(table.every(({ missing }) => missing === 0) ? 0 : 1);
