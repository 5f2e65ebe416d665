import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from '@jest/globals';
import { watchStall } from '../../../src/adapters/graphql/stall.ts';
import { eventually } from '../../support/eventually.ts';
import { startGraphqlBench, type GraphqlBench } from '../../support/graphql-bench.ts';
import { GraphqlSocket } from '../../support/graphql-socket.ts';

const readers = 20;
const piece = 'x'.repeat(32_000);
/** What the kernel's buffers of twenty loopback connections hold, with room; without a bound it would be all pieces. */
const pulledMax = 12_000;
const available = 200_000;

let bench: GraphqlBench | null = null;
afterEach(async () => {
  await bench?.close();
  bench = null;
});

type Flood = { pulled: () => number; running: () => number };

/** A stream that never runs dry: how much is pulled shows what is buffered. */
function flood(target: GraphqlBench): Flood {
  let pulled = 0;
  let running = 0;
  target.world.stream = async function* (messageId, _after, _principal, signal) {
    running += 1;
    try {
      for (let index = 0; index < available && !signal.aborted; index += 1) {
        pulled += 1;
        yield { type: 'token', messageId, deploymentId: null, index, text: piece };
        // Lets others run: a generator that never waits would keep the event loop.
        if (index % 20 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    } finally {
      running -= 1;
    }
  };
  return { pulled: () => pulled, running: () => running };
}

async function settled(value: () => number): Promise<number> {
  let last = -1;
  let seenAt = performance.now();
  return await eventually('nothing more is pulled', () => {
    if (value() !== last) {
      last = value();
      seenAt = performance.now();
    }
    return last > 0 && performance.now() - seenAt > 400 ? last : null;
  }, 25_000);
}

const query = (target: GraphqlBench) => `subscription { chatStream(messageId: "${target.world.messages[1]!.id}") { index text } }`;

describe('readers that stop reading', () => {
  it('over WebSocket hold back their own stream, are cut, and hurt nobody', async () => {
    const target = (bench = await startGraphqlBench({ stalledMsMax: 1500 }));
    const stream = flood(target);
    const clients = await Promise.all(Array.from({ length: readers }, () => new GraphqlSocket(target.wsUrl).initialised(target.world.keyOf('USER'))));
    for (const client of clients) {
      client.subscribe('1', query(target));
      client.stopReading();
    }
    expect(await settled(stream.pulled)).toBeLessThan(pulledMax);
    expect((await target.ask('{ viewer { role } }')).body.errors).toBeUndefined();
    await eventually('all are cut', () => stream.running() === 0, 15_000);
    for (const client of clients) client.socket.terminate();
    expect(target.logger.records.filter((record) => record.level === 'error')).toEqual([]);
  }, 60_000);

  it('over server-sent events hold back their own stream and hurt nobody', async () => {
    const target = (bench = await startGraphqlBench());
    const stream = flood(target);
    const body = JSON.stringify({ query: query(target) });
    const { port } = new URL(target.url);
    const head = `POST /graphql HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\nauthorization: Bearer ${target.world.keyOf('USER')}\r\naccept: text/event-stream\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
    const sockets: Socket[] = Array.from({ length: readers }, () => {
      const socket = connect(Number(port), '127.0.0.1');
      socket.on('error', () => undefined);
      socket.pause();
      socket.write(head + body);
      return socket;
    });
    await eventually('all run', () => stream.running() === readers);
    expect(await settled(stream.pulled)).toBeLessThan(pulledMax);
    expect((await target.ask('{ viewer { role } }')).body.errors).toBeUndefined();
    for (const socket of sockets) socket.destroy();
    await eventually('all streams ended', () => stream.running() === 0);
  }, 60_000);

  it('get every piece in order when they only pause', async () => {
    const target = (bench = await startGraphqlBench());
    const count = 1000;
    target.world.stream = async function* (messageId) {
      for (let index = 0; index < count; index += 1) yield { type: 'token', messageId, deploymentId: null, index, text: piece };
    };
    const client = await new GraphqlSocket(target.wsUrl).initialised(target.world.keyOf('USER'));
    client.subscribe('1', query(target));
    await client.next('next');
    client.stopReading();
    await target.ask('{ viewer { role } }');
    client.readAgain();
    await client.next('complete', '1');
    const indexes = client.payloads('1').map((payload) => (payload as { data: { chatStream: { index: number } } }).data.chatStream.index);
    expect(indexes).toEqual(Array.from({ length: count }, (_, index) => index));
    client.socket.terminate();
  });

  it('are cut over HTTP once nothing has moved for a while', async () => {
    const gone = Promise.withResolvers<boolean>();
    const server = createServer((_req, res) => {
      const over = new AbortController();
      res.once('close', () => {
        over.abort();
        gone.resolve(true);
      });
      watchStall(res, over.signal, { lookEveryMs: 20, stalledMsMax: 100 });
      res.write(Buffer.alloc(64 * 1024 * 1024));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1');
    socket.on('error', () => undefined);
    socket.pause();
    socket.write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    expect(await gone.promise).toBe(true);
    socket.destroy();
    server.close();
  });
});
