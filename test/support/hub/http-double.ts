/** The part that all doubles share: a loopback server that logs, and applies faults before the handler is asked. */
import { createServer } from 'node:http';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fault, Faults } from './faults.ts';
import { findFault } from './faults.ts';
import type { LoggedRequest, RequestLog } from './log.ts';

export type Exchange = {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly method: string;
  /** Without the query, percent-encoding as sent: hostile names must arrive as they are. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly entry: LoggedRequest;
  readonly log: RequestLog;
  readonly faults: readonly Fault[];
  /** Aborts when the connection is gone. */
  readonly signal: AbortSignal;
};

export type HttpDoubleOptions = {
  name: string;
  log: RequestLog;
  faults: Faults;
  handle: (exchange: Exchange) => Promise<void> | void;
  port?: number;
  /** What one connection gets; a rate fault goes before it. */
  bytesPerSecond?: number | undefined;
};

export type HttpDouble = { readonly port: number; close(): Promise<void> };

/** Waits for a promise, but no longer than the connection lives. */
export async function whileConnected(waited: Promise<unknown> | null, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  const gone = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await (waited === null ? gone : Promise.race([waited, gone]));
}

export async function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

function openExchange(req: IncomingMessage, res: ServerResponse, options: HttpDoubleOptions): Exchange {
  const { name: server, log, bytesPerSecond } = options;
  const { method = 'GET', url = '/', headers } = req;
  const faults = options.faults.take({ server, method, path: url });
  const entry: LoggedRequest = {
    server, method, path: url, headers,
    range: headers.range ?? null,
    authorization: headers.authorization ?? null,
    faults: faults.map(({ kind }) => kind),
    status: 0, firstByte: 0, bytesSent: 0, state: 'open',
  };
  log.add(entry);
  const connection = new AbortController();
  res.on('close', () => {
    entry.state = res.writableFinished ? 'finished' : 'aborted';
    log.changed();
    connection.abort();
  });
  const queryAt = url.indexOf('?');
  return {
    req, res, method, entry, log,
    path: queryAt < 0 ? url : url.slice(0, queryAt),
    query: new URLSearchParams(queryAt < 0 ? '' : url.slice(queryAt)),
    faults: bytesPerSecond === undefined || findFault(faults, 'rate') ? faults : [...faults, { kind: 'rate', bytesPerSecond }],
    signal: connection.signal,
  };
}

async function answer(exchange: Exchange, handle: HttpDoubleOptions['handle']): Promise<void> {
  const { res, faults, signal, entry } = exchange;
  if (findFault(faults, 'close')) {
    res.destroy();
    return;
  }
  const slow = findFault(faults, 'slow_start');
  if (slow) await (typeof slow.until === 'number' ? pause(slow.until, signal) : whileConnected(slow.until, signal));
  if (signal.aborted) return;
  const status = findFault(faults, 'status');
  if (!status) {
    await handle(exchange);
    return;
  }
  entry.status = status.status;
  res.writeHead(status.status, { 'content-type': 'application/json; charset=utf-8', ...status.headers });
  res.end(exchange.method === 'HEAD' ? undefined : status.body);
}

/** Listens on 127.0.0.1; whoever needs another host name for the same address says `localhost`. */
export async function startHttpDouble(options: HttpDoubleOptions): Promise<HttpDouble> {
  const server = createServer((req, res) => {
    const exchange = openExchange(req, res, options);
    answer(exchange, options.handle).catch((error: unknown) => {
      // A defect of the double must not look like one of the faults under test.
      process.stderr.write(`${options.name} double failed on ${exchange.entry.path}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
      res.destroy();
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    close: () =>
      new Promise((resolve, reject) => {
        server.close((error) => {
          if (error) reject(error);
          else resolve();
        });
        server.closeAllConnections();
      }),
  };
}
