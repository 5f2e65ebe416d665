/**
 * The subscribers of `events.ts` in a process of their own: `event-subscribers.ts <bus|bare> <redis socket> <prefix>
 * <subscribers> <events> <timeout ms>`. Prints a line when they listen, and their figures when they have all events or the time is up.
 */
import { once } from 'node:events';
import { Redis } from 'ioredis';
import { openRedisProcess } from '../test/support/redis-process.ts';
import { bareChannel, Delays, subscribeAll, warmUpEvents, type Figures } from './event-delays.ts';

const [mode = '', socket = '', prefix = '', subscribers = '1', events = '1', timeoutMs = '1'] = process.argv.slice(2);
const wanted = { subscribers: Number(subscribers), events: Number(events) };
const timeout = AbortSignal.timeout(Number(timeoutMs));
const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);

async function measureBus(): Promise<Figures> {
  const service = await openRedisProcess(`unix://${socket}`, prefix);
  const measured = subscribeAll(service.bus, wanted, timeout);
  say({ listens: true });
  const figures = await measured;
  await service.close();
  return figures;
}

/** One subscriber with nothing but ioredis. */
async function measureBare(): Promise<Figures> {
  const redis = new Redis({ path: socket });
  const delays = new Delays(wanted);
  const done = new AbortController();
  let position = 0;
  redis.on('message', (_channel, sentAt) => {
    delays.add(sentAt, position);
    position += 1;
    if (position >= warmUpEvents + wanted.events) done.abort();
  });
  await redis.subscribe(bareChannel);
  say({ listens: true });
  const ended = AbortSignal.any([done.signal, timeout]);
  if (!ended.aborted) await once(ended, 'abort');
  redis.disconnect();
  return delays.figures();
}

say(await (mode === 'bare' ? measureBare() : measureBus()));
