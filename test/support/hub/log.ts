/** What a double was asked and what it sent, so that a test can assert on the traffic itself. */
import type { IncomingHttpHeaders } from 'node:http';

export type LoggedRequest = {
  readonly server: string;
  readonly method: string;
  /** With the query, as sent. */
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly range: string | null;
  readonly authorization: string | null;
  readonly faults: readonly string[];
  /** 0 until the head of the answer is written. */
  status: number;
  /** Offset in the file of the first body byte. */
  firstByte: number;
  /** Body bytes handed to the socket; the client may have read fewer. */
  bytesSent: number;
  state: 'open' | 'finished' | 'aborted';
};

/** End is not included. */
export type ByteRange = { start: number; end: number };

const WAIT_MS = 10_000;

export class RequestLog {
  readonly entries: LoggedRequest[] = [];
  private readonly waiters = new Set<() => void>();

  add(entry: LoggedRequest): void {
    this.entries.push(entry);
    this.changed();
  }

  /** Called by the server whenever an entry moves on. */
  changed(): void {
    for (const waiter of this.waiters) waiter();
  }

  clear(): void {
    this.entries.length = 0;
  }

  matching(pattern: RegExp, method?: string): LoggedRequest[] {
    return this.entries.filter((entry) => pattern.test(entry.path) && (method ?? entry.method) === entry.method);
  }

  /** Resolves as soon as the condition holds; looked at on every request, chunk and end. */
  async waitFor(condition: (log: RequestLog) => boolean, timeoutMs = WAIT_MS): Promise<void> {
    if (condition(this)) return;
    await new Promise<void>((resolve, reject) => {
      const check = (): void => {
        if (condition(this)) finish(resolve);
      };
      const timer = setTimeout(() => finish(() => reject(new Error(`The awaited traffic did not come. Seen:\n${this.toString()}`))), timeoutMs);
      const finish = (settle: () => void): void => {
        clearTimeout(timer);
        this.waiters.delete(check);
        settle();
      };
      this.waiters.add(check);
    });
  }

  /** Which bytes went out, one range per answer that had a body. */
  sentRanges(pattern: RegExp): ByteRange[] {
    return this.matching(pattern, 'GET')
      .filter(({ bytesSent }) => bytesSent > 0)
      .map(({ firstByte, bytesSent }) => ({ start: firstByte, end: firstByte + bytesSent }));
  }

  /** How many bytes went out, counting those that went out again. */
  bytesSent(pattern: RegExp): number {
    return this.sentRanges(pattern).reduce((sum, { start, end }) => sum + end - start, 0);
  }

  /** How many bytes went out more than once. What was in flight when a connection broke counts as sent. */
  bytesSentTwice(pattern: RegExp): number {
    let covered = 0;
    let twice = 0;
    for (const { start, end } of this.sentRanges(pattern).sort((a, b) => a.start - b.start)) {
      twice += Math.max(0, Math.min(end, covered) - start);
      covered = Math.max(covered, end);
    }
    return twice;
  }

  toString(): string {
    return this.entries
      .map((e) => `${e.server} ${e.method} ${e.path} ${e.range ?? ''} -> ${e.status} ${e.bytesSent} bytes ${e.state} ${e.faults.join(',')}`)
      .join('\n');
  }
}
