import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { FaultProxy } from '../../support/fault-proxy.ts';
import { createFaultProxy } from '../../support/fault-proxy.ts';

const BODY = Buffer.alloc(200_000, 'abcdefgh');
let server: Server;
let proxy: FaultProxy;
let accepted: Socket[];

/** Sends the body after the first byte it gets, then ends. */
beforeEach(async () => {
  accepted = [];
  server = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined).once('data', () => socket.end(BODY));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy = await createFaultProxy({ port: (server.address() as AddressInfo).port });
});
afterEach(async () => {
  await proxy.close();
  for (const socket of accepted) socket.destroy();
  await new Promise((resolve) => server.close(resolve));
});

type Outcome = { bytes: Buffer; error: string | null; milliseconds: number };
function exchange(onData?: (received: number) => void): Promise<Outcome> {
  const startedAt = performance.now();
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let error: string | null = null;
    let received = 0;
    const socket = connect(proxy.port, '127.0.0.1', () => socket.write('?'));
    socket.on('data', (chunk) => {
      chunks.push(chunk);
      onData?.((received += chunk.length));
    });
    socket.on('error', (failure: NodeJS.ErrnoException) => (error = failure.code ?? failure.message));
    socket.on('close', () => resolve({ bytes: Buffer.concat(chunks), error, milliseconds: performance.now() - startedAt }));
  });
}

describe('fault proxy', () => {
  it('passes bytes unchanged without a toxic, and however finely sliced', async () => {
    expect((await exchange()).bytes.equals(BODY)).toBe(true);
    proxy.add({ kind: 'slicer', bytes: 1000 });
    expect((await exchange()).bytes.equals(BODY)).toBe(true);
    // Fails by the test's own deadline.
    while (proxy.connections > 0) await new Promise((resolve) => setImmediate(resolve));
  });

  it('delays, slows and delays the close by at least what was asked', async () => {
    const lift = proxy.add({ kind: 'latency', milliseconds: 60 });
    expect((await exchange()).milliseconds).toBeGreaterThan(55);
    lift();
    proxy.add({ kind: 'bandwidth', bytesPerSecond: 2_000_000 });
    expect((await exchange()).milliseconds).toBeGreaterThan(80);
    proxy.clear();
    proxy.add({ kind: 'slow_close', milliseconds: 60 });
    expect((await exchange()).milliseconds).toBeGreaterThan(55);
  });

  it('ends after the limit, with the bytes up to it', async () => {
    proxy.add({ kind: 'limit_data', bytes: 12_345 });
    const { bytes, error } = await exchange();
    expect([bytes.length, error]).toEqual([12_345, null]);
  });

  it('flips one bit', async () => {
    proxy.add({ kind: 'corrupt', atByte: 150_001 });
    const { bytes } = await exchange();
    expect([...bytes.keys()].filter((index) => bytes[index] !== BODY[index])).toEqual([150_001]);
  });

  it('resets new connections and those that live', async () => {
    const lift = proxy.add({ kind: 'reset_peer' });
    expect((await exchange()).error).toBe('ECONNRESET');
    lift();
    proxy.add({ kind: 'bandwidth', bytesPerSecond: 100_000 });
    const gate = Promise.withResolvers<undefined>();
    const running = exchange(() => gate.resolve(undefined));
    await gate.promise;
    proxy.add({ kind: 'reset_peer' });
    const { bytes, error } = await running;
    expect(error).toBe('ECONNRESET');
    expect(bytes.length).toBeLessThan(BODY.length);
  });

  it('swallows data like a dead line and closes after the time', async () => {
    proxy.add({ kind: 'timeout', milliseconds: 50 });
    const { bytes, milliseconds } = await exchange();
    expect(bytes).toHaveLength(0);
    expect(milliseconds).toBeGreaterThan(45);
  });

  it('keeps sending to a side that has ended its own sending', async () => {
    const chunks: Buffer[] = [];
    const socket = connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true }, () => socket.end('?'));
    for await (const chunk of socket) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).equals(BODY)).toBe(true);
  });

  it('is gone and comes back on the same port', async () => {
    await proxy.down();
    expect((await exchange()).error).toBe('ECONNREFUSED');
    await proxy.up();
    expect((await exchange()).bytes.equals(BODY)).toBe(true);
  });
});
