/**
 * A TCP proxy between a client and a real server that spoils the line below HTTP. The toxics carry the names and
 * meanings that Shopify's toxiproxy gave them, plus `corrupt`; they can be set and lifted while connections live.
 */
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export type Direction = 'upstream' | 'downstream';

export type Toxic =
  | { kind: 'latency'; milliseconds: number; jitterMilliseconds?: number }
  | { kind: 'bandwidth'; bytesPerSecond: number }
  /** Swallows all data; closes after the time, or never without one. */
  | { kind: 'timeout'; milliseconds?: number }
  /** TCP reset, at once or after the time, on live and new connections. */
  | { kind: 'reset_peer'; milliseconds?: number }
  | { kind: 'slicer'; bytes: number; delayMilliseconds?: number }
  /** Closes once a connection has carried so many bytes. */
  | { kind: 'limit_data'; bytes: number }
  /** Keeps the other side open for the time after one side has ended. */
  | { kind: 'slow_close'; milliseconds: number }
  /** Flips a bit of the byte at this place of the connection's stream. */
  | { kind: 'corrupt'; atByte: number };

export type FaultProxy = {
  readonly port: number;
  /** `http://127.0.0.1:port`. */
  readonly url: string;
  /** Connections open now. */
  readonly connections: number;
  /** Takes the default direction (downstream = from the server to the client). Returns what lifts it again. */
  add(toxic: Toxic, direction?: Direction): () => void;
  clear(): void;
  /** Refuses new connections and cuts the live ones, as a server that is gone; `up` ends that. */
  down(): Promise<void>;
  up(): Promise<void>;
  close(): Promise<void>;
};

type Active = { toxic: Toxic; direction: Direction };
type Pair = { client: Socket; server: Socket; closing: AbortController };

const READ_BYTES_MAX = 64 * 1024;
/** A paced stream goes out in pieces of this many milliseconds. */
const PACE_MS = 20;

function pick<K extends Toxic['kind']>(toxics: readonly Toxic[], kind: K): Extract<Toxic, { kind: K }> | undefined {
  return toxics.find((toxic): toxic is Extract<Toxic, { kind: K }> => toxic.kind === kind);
}

async function wait(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

function cutPair({ client, server, closing }: Pair, reset = false): void {
  closing.abort();
  for (const socket of [client, server]) {
    if (reset) socket.resetAndDestroy();
    else socket.destroy();
  }
}

async function write(socket: Socket, bytes: Buffer): Promise<void> {
  if (socket.destroyed || socket.write(bytes)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      socket.off('drain', done).off('close', done);
      resolve();
    };
    socket.on('drain', done).on('close', done);
  });
}

function corrupt(bytes: Buffer, index: number): Buffer {
  if (index < 0 || index >= bytes.length) return bytes;
  const copy = Buffer.from(bytes);
  copy[index] = (copy[index] ?? 0) ^ 1;
  return copy;
}

/** One direction of one connection. The list of toxics is read anew for each piece, so changes apply at once. */
class Pump {
  private passed = 0;
  private readonly pair: Pair;
  private readonly toxics: () => Toxic[];

  constructor(pair: Pair, toxics: () => Toxic[]) {
    this.pair = pair;
    this.toxics = toxics;
  }

  async run(from: Socket, to: Socket): Promise<void> {
    const { signal } = this.pair.closing;
    // One side's end must not destroy its socket: the other direction may still be sending.
    for await (const chunk of from.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      const { milliseconds = 0, jitterMilliseconds = 0 } = pick(this.toxics(), 'latency') ?? {};
      if (milliseconds + jitterMilliseconds > 0) await wait(milliseconds + Math.random() * jitterMilliseconds, signal);
      for (let at = 0; at < chunk.length && !signal.aborted;) at += await this.pass(chunk.subarray(at), to);
      if (signal.aborted) return;
    }
    // A dead line does not carry the end either.
    if (pick(this.toxics(), 'timeout')) return;
    const slow = pick(this.toxics(), 'slow_close');
    if (slow) await wait(slow.milliseconds, signal);
    to.end();
  }

  /** Sends the first piece of these bytes; returns its length. */
  private async pass(bytes: Buffer, to: Socket): Promise<number> {
    const { signal } = this.pair.closing;
    const toxics = this.toxics();
    if (pick(toxics, 'timeout')) return bytes.length;
    const slicer = pick(toxics, 'slicer');
    const rate = pick(toxics, 'bandwidth')?.bytesPerSecond;
    const left = (pick(toxics, 'limit_data')?.bytes ?? Infinity) - this.passed;
    const paced = rate === undefined ? Infinity : Math.max(1, Math.floor((rate * PACE_MS) / 1000));
    const piece = bytes.subarray(0, Math.max(0, Math.min(READ_BYTES_MAX, slicer?.bytes ?? Infinity, paced, left)));
    await write(to, corrupt(piece, (pick(toxics, 'corrupt')?.atByte ?? -1) - this.passed));
    this.passed += piece.length;
    if (piece.length >= left) {
      // An orderly end, so that the bytes up to the limit arrive.
      to.end(() => cutPair(this.pair));
      this.pair.closing.abort();
    }
    if (rate !== undefined) await wait((piece.length / rate) * 1000, signal);
    if (slicer?.delayMilliseconds) await wait(slicer.delayMilliseconds, signal);
    return piece.length;
  }
}

/** Ends that do not wait for data. */
async function applyCuts(pair: Pair, toxics: readonly Toxic[]): Promise<void> {
  const reset = pick(toxics, 'reset_peer');
  const hole = pick(toxics, 'timeout');
  const after = reset ? (reset.milliseconds ?? 0) : hole?.milliseconds;
  if (after === undefined) return;
  if (after > 0) await wait(after, pair.closing.signal);
  cutPair(pair, reset !== undefined);
}

function openPair(client: Socket, target: { host: string; port: number }): Pair {
  const pair: Pair = { client, server: connect(target), closing: new AbortController() };
  for (const socket of [pair.client, pair.server]) {
    socket.setNoDelay(true);
    // Either side may break; the pair then ends, and the error itself is the point of the exercise.
    socket.on('error', () => cutPair(pair));
  }
  return pair;
}

async function listen(server: Server, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, '127.0.0.1', () => {
      server.off('error', reject);
      resolve();
    });
  });
}

export async function createFaultProxy(target: { host?: string; port: number }): Promise<FaultProxy> {
  const pairs = new Set<Pair>();
  let active: Active[] = [];
  const toxicsOf = (direction: Direction): Toxic[] => active.filter((entry) => entry.direction === direction).map(({ toxic }) => toxic);
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const pair = openPair(client, { host: '127.0.0.1', ...target });
    pairs.add(pair);
    const pumps = [
      new Pump(pair, () => toxicsOf('upstream')).run(pair.client, pair.server),
      new Pump(pair, () => toxicsOf('downstream')).run(pair.server, pair.client),
      applyCuts(pair, active.map(({ toxic }) => toxic)),
    ];
    const forget = (): void => {
      if (pair.client.destroyed && pair.server.destroyed) pairs.delete(pair);
    };
    pair.client.on('close', forget);
    pair.server.on('close', forget);
    // A destroyed socket makes its iteration throw: the cut was made on purpose or by the peer.
    for (const pump of pumps) pump.catch(() => cutPair(pair));
  });
  await listen(server, 0);
  const { port } = server.address() as AddressInfo;
  const down = (): Promise<void> => {
    for (const pair of pairs) cutPair(pair, true);
    return new Promise((resolve) => server.close(() => resolve()));
  };
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    get connections() {
      return pairs.size;
    },
    add: (toxic, direction = 'downstream') => {
      const entry: Active = { toxic, direction };
      active.push(entry);
      for (const pair of pairs) void applyCuts(pair, [toxic]);
      return () => {
        active = active.filter((other) => other !== entry);
      };
    },
    clear: () => {
      active = [];
    },
    down,
    up: () => listen(server, port),
    close: down,
  };
}
