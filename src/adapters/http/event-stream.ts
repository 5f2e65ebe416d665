import type { ServerResponse } from 'node:http';
import { corkForTurn } from './cork.ts';
import type { Exchange } from './exchange.ts';

/** Comment lines keep proxies from closing a quiet stream. */
const keepAliveMs = 15_000;
/** A reader that took nothing for this long is cut; it resumes from its last event id. */
export const defaultStalledMsMax = 30_000;

export type EventStreamOptions = { headers?: Readonly<Record<string, string>> | undefined; stalledMsMax?: number | undefined };

export type EventStream = {
  /** Nothing while the client has room for more, else resolves once it has; throws or rejects with the exchange's reason when it has gone. */
  send(message: { event?: string; id?: string; data: unknown }): Promise<void> | undefined;
  /** The same for events that are text already. */
  write(events: string): Promise<void> | undefined;
  end(): void;
};

/** One event in the words of the protocol. */
export function toEventText({ event, id, data }: { event?: string; id?: string; data: unknown }): string {
  const head = `${event === undefined ? '' : `event: ${event}\n`}${id === undefined ? '' : `id: ${id}\n`}`;
  return `${head}data: ${JSON.stringify(data)}\n\n`;
}

/** Resolves once the client has room; cuts one that takes nothing for `stalledMsMax`; rejects with the signal's reason when it has gone. */
export async function drained(res: ServerResponse, signal: AbortSignal, stalledMsMax: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => res.destroy(), stalledMsMax);
  const onDrain = (): void => resolve(undefined);
  const onGone = (): void => reject(signal.reason as Error);
  res.once('drain', onDrain);
  signal.addEventListener('abort', onGone, { once: true });
  try {
    if (signal.aborted) onGone();
    await promise;
  } finally {
    clearTimeout(timer);
    res.off('drain', onDrain);
    signal.removeEventListener('abort', onGone);
  }
}

/** Answers the exchange as server-sent events; the producer that awaits `send` holds one event at most. */
export function openEventStream({ res, signal }: Exchange, { headers, stalledMsMax = defaultStalledMsMax }: EventStreamOptions = {}): EventStream {
  res.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-store', 'x-accel-buffering': 'no', ...headers });
  res.flushHeaders();
  const keepAlive = setInterval(() => {
    if (!res.writableNeedDrain) res.write(': keep-alive\n\n');
  }, keepAliveMs);
  res.once('close', () => clearInterval(keepAlive));
  const write = (events: string): Promise<void> | undefined => {
    signal.throwIfAborted();
    if (res.socket) corkForTurn(res.socket);
    return res.write(events) ? undefined : drained(res, signal, stalledMsMax);
  };
  return {
    send: (message) => write(toEventText(message)),
    write,
    end() {
      res.end();
    },
  };
}
