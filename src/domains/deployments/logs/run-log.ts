import { appendFile, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Clock } from '../../../shared/clock.ts';
import type { LogLevel, LogLine } from '../../../shared/event-bus.ts';
import { neutralise, toLogLine, type LogPosition, type StoredLine } from './log-line.ts';

export type LogLimits = {
  /** Bytes of one file of a run. */
  segmentBytes: number;
  /** The first file (why a start went wrong) and this many of the newest ones are kept. */
  newestSegments: number;
  runsKept: number;
  /** Files that nothing was written to for so long are let go of with the next run. */
  keptDays: number;
  linesPerSecond: number;
  burstLines: number;
  /** Waiting for the disk; beyond it lines are left out. */
  bufferBytes: number;
};

/** 5 MiB a run and 50 MiB a deployment at most; 2,000 lines a second are more than anybody reads. */
export const defaultLogLimits: LogLimits = {
  segmentBytes: 1024 * 1024,
  newestSegments: 4,
  runsKept: 10,
  keptDays: 30,
  linesPerSecond: 2000,
  burstLines: 10_000,
  bufferBytes: 4 * 1024 * 1024,
};

const flushDelayMs = 100;
/** Clocks of other machines are never quite right. */
const aheadMsMax = 60_000;
/** Kept in memory, to say why an engine failed. */
const lastLinesKept = 50;

export type RunLogOptions = {
  deploymentId: string;
  /** The file of one segment of this run. */
  fileOf: (segment: number) => string;
  run: number;
  /** Where the first line goes: behind those that are there already. */
  begin: { segment: number; offset: number };
  clock: Clock;
  limits: LogLimits;
  onLine: (line: LogLine) => void;
  onFault: (error: unknown) => void;
};

/**
 * Writes the log of one run of an engine: in batches, to files of bounded size and number, no more than so many
 * lines a second. Lines are stored neutralised (see `neutralise`). Writing never throws and never waits.
 */
export class RunLog {
  readonly #options: RunLogOptions;
  readonly #last: string[] = [];
  #tokens: number;
  #tokensAt: number;
  #leftOut = 0;
  #segment: number;
  #offset: number;
  #pending: { segment: number; text: string }[] = [];
  #pendingBytes = 0;
  #newest = '';
  #timer: NodeJS.Timeout | null = null;
  #flushing: Promise<void> = Promise.resolve();

  constructor(options: RunLogOptions) {
    this.#options = options;
    this.#segment = options.begin.segment;
    this.#offset = options.begin.offset;
    this.#tokens = options.limits.burstLines;
    this.#tokensAt = options.clock.monotonicMs();
  }

  /** Takes the place of one line; false = there are too many, the line is counted and left out. */
  admit(): boolean {
    const now = this.#options.clock.monotonicMs();
    const { linesPerSecond, burstLines } = this.#options.limits;
    this.#tokens = Math.min(burstLines, this.#tokens + ((now - this.#tokensAt) * linesPerSecond) / 1000);
    this.#tokensAt = now;
    if (this.#tokens < 1) {
      this.#leftOut += 1;
      return false;
    }
    this.#tokens -= 1;
    return true;
  }

  /** Lines that whoever reads the engine's output had to skip. */
  skipped(lines: number): void {
    this.#leftOut += lines;
  }

  /** Stores one line that was admitted; `time` is ISO 8601. */
  write(stream: LogLine['stream'], level: LogLevel, message: string, time: string | null = null): void {
    if (this.#leftOut > 0) this.#tellLeftOut();
    const now = this.#options.clock.now();
    // All later lines stand behind this one: a time that an engine makes up must not carry them into the future.
    const isTrusted = time !== null && Date.parse(time) - now.getTime() <= aheadMsMax;
    this.#store({ t: isTrusted ? time : now.toISOString(), s: stream, l: level, m: neutralise(message) });
  }

  /** What the supervisor itself has to say is never left out. */
  say(level: LogLevel, message: string): void {
    this.write('supervisor', level, message);
  }

  /** The newest lines of the engine itself, oldest first. */
  lastLines(count: number): readonly string[] {
    return this.#last.slice(-count);
  }

  #tellLeftOut(): void {
    const lines = this.#leftOut;
    this.#leftOut = 0;
    this.#store({ t: this.#options.clock.now().toISOString(), s: 'supervisor', l: 'warn', m: `${lines} lines were left out: more came than are kept.` });
  }

  #store(given: StoredLine): void {
    // An engine's line is read a little after it was written: it takes its place behind what came meanwhile, so that
    // the order of the lines is the order of their times.
    const line = given.t < this.#newest ? { ...given, t: this.#newest } : given;
    this.#newest = line.t;
    const text = `${JSON.stringify(line)}\n`;
    const bytes = Buffer.byteLength(text);
    if (this.#pendingBytes + bytes > this.#options.limits.bufferBytes) {
      this.#leftOut += 1;
      return;
    }
    if (this.#offset > 0 && this.#offset + bytes > this.#options.limits.segmentBytes) this.#nextSegment();
    this.#offset += bytes;
    this.#pending.push({ segment: this.#segment, text });
    this.#pendingBytes += bytes;
    if (line.s !== 'supervisor') {
      this.#last.push(line.m);
      if (this.#last.length > lastLinesKept) this.#last.shift();
    }
    const end: LogPosition = { run: this.#options.run, segment: this.#segment, offset: this.#offset };
    this.#options.onLine(toLogLine(this.#options.deploymentId, line, end));
    this.#timer ??= setTimeout(() => void this.flush(), flushDelayMs).unref();
  }

  #nextSegment(): void {
    this.#segment += 1;
    this.#offset = 0;
  }

  /** Resolves once every line written so far is in its file (or was given up: a full disk ends no engine). */
  flush(): Promise<void> {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#flushing = this.#flushing.then(() => this.#writePending());
    return this.#flushing;
  }

  async close(): Promise<void> {
    if (this.#leftOut > 0) this.#tellLeftOut();
    await this.flush();
  }

  async #writePending(): Promise<void> {
    const batch = this.#pending;
    if (batch.length === 0) return;
    this.#pending = [];
    this.#pendingBytes = 0;
    try {
      const bySegment = Map.groupBy(batch, (entry) => entry.segment);
      for (const [segment, entries] of bySegment) await this.#append(segment, entries.map((entry) => entry.text).join(''));
    } catch (error) {
      // Positions behind a torn write are not known, so what comes next goes to a file of its own.
      this.#leftOut += batch.length + this.#pending.length;
      this.#pending = [];
      this.#pendingBytes = 0;
      this.#nextSegment();
      this.#options.onFault(error);
    }
  }

  async #append(segment: number, text: string): Promise<void> {
    const file = this.#options.fileOf(segment);
    await mkdir(dirname(file), { recursive: true, mode: 0o700 });
    await appendFile(file, text, { mode: 0o600 });
    const dispensable = segment - this.#options.limits.newestSegments;
    if (dispensable > 0) await rm(this.#options.fileOf(dispensable), { force: true });
  }
}
