import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogLine } from '../../../shared/event-bus.ts';
import { systemErrorCode } from '../../../shared/system-error.ts';
import { comparePositions, logStart, toLogLine, type LogPosition, type StoredLine } from './log-line.ts';

const filePattern = /^(\d{1,9})\.(\d{1,9})\.jsonl$/;
const newline = 0x0a;

export type Segment = { run: number; segment: number; path: string };
/** Where the log of one deployment lies. */
export type LogFolder = { deploymentId: string; path: string };

export function segmentFile(folder: string, run: number, segment: number): string {
  return join(folder, `${run}.${segment}.jsonl`);
}

/** Where an engine writes until it is taken over into the log. */
export function outputFileOf(folder: string, run: number): string {
  return join(folder, `${run}.out`);
}

/** Runs whose engine's own output is still there, oldest first. */
export async function listOutputs(folder: string): Promise<number[]> {
  const names = await readdir(folder).catch(ignoreMissing([]));
  return names.flatMap((name) => /^(\d{1,9})\.out$/.exec(name)?.[1] ?? []).map(Number).sort((a, b) => a - b);
}

/** Where the log of a run goes on; behind a line that a crash left torn in a file of its own. */
export async function endOfRun(folder: string, run: number): Promise<{ segment: number; offset: number; writtenAt: Date | null }> {
  const last = (await listSegments(folder)).filter((file) => file.run === run).at(-1);
  if (!last) return { segment: 0, offset: 0, writtenAt: null };
  const bytes = await readFile(last.path).catch(ignoreMissing(Buffer.alloc(0)));
  const writtenAt = (await stat(last.path).catch(ignoreMissing(null)))?.mtime ?? null;
  const isWhole = bytes.length === 0 || bytes.at(-1) === newline;
  return isWhole ? { segment: last.segment, offset: bytes.length, writtenAt } : { segment: last.segment + 1, offset: 0, writtenAt };
}

/** The files of all runs, oldest first; none when nothing was ever logged. */
export async function listSegments(folder: string): Promise<Segment[]> {
  const names = await readdir(folder).catch(ignoreMissing([]));
  return names
    .flatMap((name) => {
      const match = filePattern.exec(name);
      return match ? [{ run: Number(match[1]), segment: Number(match[2]), path: join(folder, name) }] : [];
    })
    .sort((a, b) => a.run - b.run || a.segment - b.segment);
}

/** Every line after `after`, oldest first. Files that rotation takes away meanwhile are passed over. */
export async function* readForward({ deploymentId, path }: LogFolder, after: LogPosition, signal: AbortSignal): AsyncGenerator<LogLine> {
  let before: Segment | null = null;
  for (const file of await listSegments(path)) {
    if (file.run < after.run || (file.run === after.run && file.segment < after.segment)) continue;
    signal.throwIfAborted();
    const lines = await readSegment(deploymentId, file, after);
    const isGap = before?.run === file.run && file.segment > before.segment + 1;
    if (isGap) yield gapLine(deploymentId, file, lines[0]?.time);
    yield* lines;
    before = file;
  }
}

/** Whole files of lines, newest file first, each file's lines oldest first. */
export async function* readBackward({ deploymentId, path }: LogFolder, signal: AbortSignal): AsyncGenerator<readonly LogLine[]> {
  const files = await listSegments(path);
  for (const file of files.reverse()) {
    signal.throwIfAborted();
    yield await readSegment(deploymentId, file, logStart);
  }
}

function gapLine(deploymentId: string, file: Segment, time: string | undefined): LogLine {
  const stored: StoredLine = { t: time ?? new Date(0).toISOString(), s: 'supervisor', l: 'warn', m: 'Lines are missing here: the log of this run grew longer than is kept.' };
  return toLogLine(deploymentId, stored, { run: file.run, segment: file.segment, offset: 0 });
}

/** A file is small by rotation (see `LogLimits.segmentBytes`), so it is read whole. */
async function readSegment(deploymentId: string, file: Segment, after: LogPosition): Promise<LogLine[]> {
  const bytes = await readFile(file.path).catch(ignoreMissing(Buffer.alloc(0)));
  const lines: LogLine[] = [];
  let from = 0;
  for (let end = bytes.indexOf(newline); end !== -1; end = bytes.indexOf(newline, from)) {
    const position = { run: file.run, segment: file.segment, offset: end + 1 };
    const stored = comparePositions(position, after) > 0 ? parseStored(bytes.toString('utf8', from, end)) : null;
    if (stored) lines.push(toLogLine(deploymentId, stored, position));
    from = end + 1;
  }
  return lines;
}

/** Null for a line that a crash left torn. */
function parseStored(text: string): StoredLine | null {
  try {
    const value: unknown = JSON.parse(text);
    return isStoredLine(value) ? value : null;
  } catch {
    return null;
  }
}

function isStoredLine(value: unknown): value is StoredLine {
  return typeof value === 'object' && value !== null && 't' in value && typeof value.t === 'string' && 'm' in value && typeof value.m === 'string' && 's' in value && 'l' in value;
}

function ignoreMissing<T>(instead: T): (error: unknown) => T {
  return (error) => {
    if (systemErrorCode(error) === 'ENOENT') return instead;
    throw error;
  };
}
