import { stripVTControlCharacters } from 'node:util';
import type { LogLevel, LogLine } from '../../../shared/event-bus.ts';
import { decodeCursor, encodeCursor } from '../../../shared/paging.ts';

/** Bytes of one line that are kept; an engine that prints a whole prompt in one line does not fill the log. */
export const lineBytesMax = 8 * 1024;

/** Where a line ends in the files of a deployment: the start of the next one. */
export type LogPosition = { run: number; segment: number; offset: number };

export const logStart: LogPosition = { run: 0, segment: 0, offset: 0 };

const severity: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** True when `level` is at least as severe as `least`. */
export function isAtLeast(level: LogLevel, least: LogLevel): boolean {
  return severity[level] >= severity[least];
}

// Controls but the tab, C1 controls, soft formatting that reorders or hides text, and line separators.
const dangerous = /[\u0000-\u0008\u000A-\u001F\u007F-\u009F\u061C\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF]/g;

/**
 * Text that cannot move a terminal's cursor, forge a second line or reorder what is read: escape sequences go, what
 * is left of control and bidirectional characters is shown as `\u{...}`. Done once, when a line is stored, so that no
 * reader can forget it.
 */
export function neutralise(text: string): string {
  return stripVTControlCharacters(text).replaceAll(dangerous, (character) => `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`);
}

/** Characters of a message that are kept; the log has it all. */
const tellableLengthMax = 4_000;

/** What others' programs say, as it may be stored beside a state and shown: see `neutralise`, and of bounded length. */
export function tellable(text: string): string {
  return neutralise(text.slice(0, tellableLengthMax)).toWellFormed();
}

export type EngineLine = { time: string | null; level: LogLevel; message: string };

const stamped = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z) (debug|info|warn|error) (.*)$/;

/** A raw line of an engine: `<time> <level> <text>` as our own child writes it, or anything else, its level guessed. */
export function parseEngineLine(raw: string): EngineLine {
  const match = stamped.exec(raw);
  // The pattern allows these four words only.
  if (match) return { time: existing(match[1] ?? ''), level: (match[2] ?? 'info') as LogLevel, message: match[3] ?? '' };
  return { time: null, level: guessLevel(raw), message: raw };
}

/** Null for a time that looks like one and is none: whoever reads the log has to make a date of it. */
function existing(time: string): string | null {
  return Number.isNaN(Date.parse(time)) ? null : time;
}

function guessLevel(text: string): LogLevel {
  const head = text.slice(0, 200);
  if (/\b(error|fatal|panic|exception|abort(ed)?|segfault|terminate called)\b/i.test(head)) return 'error';
  if (/\bwarn(ing)?\b/i.test(head)) return 'warn';
  if (/\b(debug|trace)\b/i.test(head)) return 'debug';
  return 'info';
}

/** What stands in the file: short keys, because there are many lines. */
export type StoredLine = { t: string; s: LogLine['stream']; l: LogLevel; m: string };

export function toLogLine(deploymentId: string, stored: StoredLine, end: LogPosition): LogLine {
  return { time: stored.t, stream: stored.s, level: stored.l, message: stored.m, run: end.run, cursor: cursorOf(deploymentId, end) };
}

/** Names the deployment, because the same position in another one's log is another line. */
function cursorOf(deploymentId: string, { run, segment, offset }: LogPosition): string {
  return encodeCursor([deploymentId, run, segment, offset]);
}

/** Throws VALIDATION_FAILED for a cursor that no line of this deployment's log has. */
export function positionOf(deploymentId: string, cursor: string): LogPosition {
  const [owner, ...numbers] = decodeCursor(cursor, 4);
  const [run, segment, offset] = numbers.map((part) => (Number.isSafeInteger(part) && Number(part) >= 0 ? Number(part) : undefined));
  // Decoding nonsense gives the error that callers know for a bad cursor.
  if (owner !== deploymentId || run === undefined || segment === undefined || offset === undefined) decodeCursor('', 4);
  return { run: run ?? 0, segment: segment ?? 0, offset: offset ?? 0 };
}

/** Negative when `a` comes before `b`. */
export function comparePositions(a: LogPosition, b: LogPosition): number {
  return a.run - b.run || a.segment - b.segment || a.offset - b.offset;
}
