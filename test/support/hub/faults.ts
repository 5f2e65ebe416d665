/** What can go wrong with an answer, and on which requests. */

/**
 * `afterBytes` counts body bytes of this answer; `atByte` is an offset in the whole file.
 * A promise (`until`) holds an answer back until the test lets it go; without one a stall lasts as long as the connection.
 */
export type Fault =
  | { kind: 'close' }
  | { kind: 'reset'; afterBytes: number }
  /** The body ends early: with a broken promise of Content-Length, or (`noLength`) as if that were all. */
  | { kind: 'short'; afterBytes: number; noLength?: boolean }
  | { kind: 'stall'; afterBytes: number; until?: Promise<unknown> }
  | { kind: 'slow_start'; until: Promise<unknown> | number }
  | { kind: 'flip'; atByte: number }
  | { kind: 'ignore_range' }
  | { kind: 'wrong_range'; shiftBytes?: number; total?: number }
  | { kind: 'status'; status: number; headers?: Record<string, string>; body?: string }
  | { kind: 'expire' }
  | { kind: 'etag'; value: string }
  | { kind: 'rate'; bytesPerSecond: number };

export type FaultRule = {
  fault: Fault;
  /** Tested against the path with its query, as sent. */
  match?: RegExp;
  method?: string;
  /** Name of the server within the double: `hub`, `cdn`, `registry`, `library`, `daemon`. */
  server?: string;
  /** Which of the requests that fit, counted from 1. Left out: all of them. */
  nth?: number | readonly number[];
  /** Stop after so many hits. */
  times?: number;
};

export type InjectedFault = { readonly hits: number; remove(): void };

export type FaultTarget = { server: string; method: string; path: string };

type Entry = { rule: FaultRule; seen: number; hits: number };

function fits({ server, method, match }: FaultRule, target: FaultTarget): boolean {
  return (server ?? target.server) === target.server && (method ?? target.method) === target.method && (match?.test(target.path) ?? true);
}

function isDue(entry: Entry): boolean {
  const { nth, times = Infinity } = entry.rule;
  if (entry.hits >= times) return false;
  return nth === undefined || [nth].flat().includes(entry.seen);
}

export class Faults {
  private entries: Entry[] = [];

  /** All rules that fit a request apply to it together. */
  inject(rule: FaultRule): InjectedFault {
    const entry: Entry = { rule, seen: 0, hits: 0 };
    this.entries.push(entry);
    return {
      get hits() {
        return entry.hits;
      },
      remove: () => {
        this.entries = this.entries.filter((other) => other !== entry);
      },
    };
  }

  clear(): void {
    this.entries = [];
  }

  take(target: FaultTarget): Fault[] {
    const due: Fault[] = [];
    for (const entry of this.entries) {
      if (!fits(entry.rule, target)) continue;
      entry.seen += 1;
      if (!isDue(entry)) continue;
      entry.hits += 1;
      due.push(entry.rule.fault);
    }
    return due;
  }
}

export function findFault<K extends Fault['kind']>(faults: readonly Fault[], kind: K): Extract<Fault, { kind: K }> | undefined {
  return faults.find((fault): fault is Extract<Fault, { kind: K }> => fault.kind === kind);
}

/** The Hub's 429: a structured RateLimit field, and Retry-After where asked for. */
export function rateLimited(resetSeconds: number, { retryAfter = false } = {}): Fault {
  const headers: Record<string, string> = {
    ratelimit: `"api";r=0;t=${resetSeconds}`,
    'ratelimit-policy': '"fixed window";"api";q=500;w=300',
  };
  if (retryAfter) headers['retry-after'] = String(resetSeconds);
  return { kind: 'status', status: 429, headers, body: JSON.stringify({ error: 'We had to rate limit you. Please try again later.' }) };
}

export function unavailable(retryAfterSeconds?: number): Fault {
  return {
    kind: 'status',
    status: 503,
    headers: retryAfterSeconds === undefined ? {} : { 'retry-after': String(retryAfterSeconds) },
    body: JSON.stringify({ error: 'Service Unavailable' }),
  };
}

/** A refusal as the Hub words it. */
export function refused(status: number, errorCode: string, message: string): Fault {
  return { kind: 'status', status, headers: { 'x-error-code': errorCode, 'x-error-message': message }, body: JSON.stringify({ error: message }) };
}
