import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../../../shared/clock.ts';
import type { EventBus, LogLine } from '../../../shared/event-bus.ts';
import { isId } from '../../../shared/ids.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { Page } from '../../../shared/paging.ts';
import type { LogEvent, LogQuery } from '../types.ts';
import { EngineOutput } from './engine-output.ts';
import { comparePositions, isAtLeast, logStart, positionOf, type LogPosition } from './log-line.ts';
import { endOfRun, listOutputs, listSegments, outputFileOf, readBackward, readForward, segmentFile, type LogFolder } from './log-reader.ts';
import { defaultLogLimits, RunLog, type LogLimits } from './run-log.ts';

/** The most that `tail` may ask for; a page's own limit applies besides. */
export const tailMax = 10_000;

const dayMs = 86_400_000;

type LogFilter = Pick<LogQuery, 'since' | 'until' | 'level' | 'search'>;

export type LogStoreOptions = { folder: string; events: EventBus; clock: Clock; logger: Logger; limits?: Partial<LogLimits> };

/** The log of one run while it is written. */
export type OpenLog = {
  log: RunLog;
  /** File for the engine's own output, taken over into the log while it grows. */
  outputFile: string;
  /** When an earlier process wrote the last line of this run; null for a new run. */
  loggedUntil: Date | null;
  /** Takes over the rest of the engine's output, once the engine has ended. */
  endOutput: () => Promise<void>;
  /** With `keepOutput` the engine goes on, and `resumeRun` takes up its output where it was left. */
  close: (keepOutput?: boolean) => Promise<void>;
};

/**
 * Logs of all deployments: `<folder>/<deployment>/<run>.<n>.jsonl`. Per run the first file and the newest four are
 * kept, per deployment the newest runs (see `LogLimits`), so that neither a flood nor a crash loop fills the disk.
 */
export class LogStore {
  readonly #options: LogStoreOptions;
  readonly #limits: LogLimits;
  readonly #open = new Map<string, { log: RunLog; output: EngineOutput }>();

  constructor(options: LogStoreOptions) {
    this.#options = options;
    this.#limits = { ...defaultLogLimits, ...options.limits };
  }

  /** Begins the log of a run and lets go of the oldest run's; first takes over what an engine wrote last before a crash. */
  async openRun(deploymentId: string, run: number): Promise<OpenLog> {
    const folder = this.#folderOf(deploymentId);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const left of await listOutputs(folder)) if (left < run) await (await this.resumeRun(deploymentId, left)).close();
    await this.#prune(folder, run);
    return this.#openAt(deploymentId, run, { segment: 0, offset: 0, writtenAt: null });
  }

  /** Goes on with the log of a run whose engine outlived the service. */
  async resumeRun(deploymentId: string, run: number): Promise<OpenLog> {
    const folder = this.#folderOf(deploymentId);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    return this.#openAt(deploymentId, run, await endOfRun(folder, run));
  }

  #openAt(deploymentId: string, run: number, begin: Awaited<ReturnType<typeof endOfRun>>): OpenLog {
    const folder = this.#folderOf(deploymentId);
    const onFault = (error: unknown): void => this.#options.logger.warn({ deploymentId, err: error }, 'the log of a deployment could not be written or read');
    const log = new RunLog({
      deploymentId,
      fileOf: (segment) => segmentFile(folder, run, segment),
      run,
      begin,
      clock: this.#options.clock,
      limits: this.#limits,
      onLine: (line) => this.#options.events.publish('deployment.log', deploymentId, { deploymentId, line }),
      onFault,
    });
    const outputFile = outputFileOf(folder, run);
    const output = new EngineOutput(outputFile, log, onFault);
    output.start();
    const entry = { log, output };
    this.#open.set(deploymentId, entry);
    const endOutput = (): Promise<void> => output.stop();
    const close = async (keepOutput = false): Promise<void> => {
      await (keepOutput ? output.leave() : output.stop());
      await log.close();
      if (this.#open.get(deploymentId) === entry) this.#open.delete(deploymentId);
    };
    return { log, outputFile, loggedUntil: begin.writtenAt, endOutput, close };
  }

  /** Lines oldest first; `cursor` goes on after a page, `tail` begins so many lines before the end. */
  async read(deploymentId: string, query: LogQuery, signal: AbortSignal): Promise<Page<LogLine>> {
    const log = this.#logOf(deploymentId);
    const after = query.cursor === undefined ? logStart : positionOf(deploymentId, query.cursor);
    await this.#catchUp(deploymentId);
    if (query.tail !== undefined && query.cursor === undefined) {
      const tail = await this.#tail(log, Math.min(query.tail, tailMax), query, signal);
      return toPage(tail.slice(0, query.limit), tail.length > query.limit);
    }
    const items: LogLine[] = [];
    for await (const line of readForward(log, after, signal)) {
      if (!matches(line, query)) continue;
      if (items.length === query.limit) return toPage(items, true);
      items.push(line);
    }
    return toPage(items, false);
  }

  /** Stored lines first (from `since`, or the last `tail`; else none), then live ones until the signal aborts. */
  async *follow(deploymentId: string, options: LogFilter & { tail?: number }, signal: AbortSignal): AsyncGenerator<LogEvent> {
    const log = this.#logOf(deploymentId);
    // Subscribed before the files are read, so that no line falls between.
    const live = this.#options.events.subscribe('deployment.log', { key: deploymentId, delivery: 'all' }, signal);
    try {
      let last: LogPosition | null = null;
      for await (const line of this.#stored(deploymentId, options, signal)) {
        yield { type: 'line', line };
        last = positionOf(deploymentId, line.cursor);
      }
      for await (const delivery of live) {
        if (delivery.type === 'resync') continue;
        const { line } = delivery.payload;
        const position = positionOf(deploymentId, line.cursor);
        if (last && comparePositions(position, last) <= 0) continue;
        if (delivery.droppedBefore > 0 && last) {
          // What was dropped while the files were read may be in them: what is there is read, not reported.
          await this.#catchUp(deploymentId);
          for await (const missed of readForward(log, last, signal)) {
            if (comparePositions(positionOf(deploymentId, missed.cursor), position) >= 0) break;
            if (matches(missed, options)) yield { type: 'line', line: missed };
          }
        } else if (delivery.droppedBefore > 0) {
          yield { type: 'dropped', lines: delivery.droppedBefore };
        }
        last = null;
        if (matches(line, options)) yield { type: 'line', line };
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      await live.return?.();
    }
  }

  /** Removes everything that was logged. The deployment must have ended. */
  async remove(deploymentId: string): Promise<void> {
    await rm(this.#folderOf(deploymentId), { recursive: true, force: true });
  }

  async *#stored(deploymentId: string, options: LogFilter & { tail?: number }, signal: AbortSignal): AsyncGenerator<LogLine> {
    if (options.since === undefined && options.tail === undefined) return;
    await this.#catchUp(deploymentId);
    const log = this.#logOf(deploymentId);
    if (options.tail !== undefined) {
      yield* await this.#tail(log, Math.min(options.tail, tailMax), options, signal);
      return;
    }
    for await (const line of readForward(log, logStart, signal)) if (matches(line, options)) yield line;
  }

  async #tail(log: LogFolder, count: number, filter: LogFilter, signal: AbortSignal): Promise<LogLine[]> {
    let newest: LogLine[] = [];
    if (count === 0) return newest;
    for await (const lines of readBackward(log, signal)) {
      newest = [...lines.filter((line) => matches(line, filter)), ...newest];
      if (newest.length >= count) break;
    }
    return newest.slice(-count);
  }

  async #catchUp(deploymentId: string): Promise<void> {
    const open = this.#open.get(deploymentId);
    await open?.output.catchUp();
    await open?.log.flush();
  }

  async #prune(folder: string, run: number): Promise<void> {
    const oldest = run - this.#limits.runsKept;
    // By the clock of the file system, which has dated the files.
    const writtenBefore = Date.now() - this.#limits.keptDays * dayMs;
    const old = await Promise.all(
      (await listSegments(folder)).map(async (segment) => {
        const stats = segment.run <= oldest ? null : await stat(segment.path).catch(() => null);
        return stats === null || stats.mtimeMs < writtenBefore ? [segment] : [];
      }),
    );
    await Promise.all(old.flat().map((segment) => rm(segment.path, { force: true })));
  }

  #logOf(deploymentId: string): LogFolder {
    return { deploymentId, path: this.#folderOf(deploymentId) };
  }

  #folderOf(deploymentId: string): string {
    // Ids come from rows, but this one becomes a path that is removed recursively.
    if (!isId(deploymentId)) throw new Error('not the id of a deployment');
    return join(this.#options.folder, deploymentId);
  }
}

function matches(line: LogLine, filter: LogFilter): boolean {
  if (filter.level !== undefined && !isAtLeast(line.level, filter.level)) return false;
  if (filter.since !== undefined && line.time < filter.since.toISOString()) return false;
  if (filter.until !== undefined && line.time > filter.until.toISOString()) return false;
  return filter.search === undefined || line.message.toLowerCase().includes(filter.search.toLowerCase());
}

function toPage(items: LogLine[], hasMore: boolean): Page<LogLine> {
  return { items, nextCursor: hasMore ? (items.at(-1)?.cursor ?? null) : null, total: null };
}
