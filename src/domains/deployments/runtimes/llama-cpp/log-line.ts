import type { EngineLogLevel } from './child/log.ts';

export type EngineLogLine = { /** ISO 8601 UTC; null for a line that the engine did not write itself. */ time: string | null; level: EngineLogLevel; message: string };

const ownLine = /^(?<time>\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z) (?<level>debug|info|warn|error) (?<message>.*)$/;

/** Reads a line of an engine's log file. Others write there too: what a crashing runtime prints is kept as an error. */
export function parseEngineLogLine(line: string): EngineLogLine {
  const { time, level, message } = ownLine.exec(line)?.groups ?? {};
  if (time === undefined || level === undefined || message === undefined) return { time: null, level: 'error', message: line };
  // The expression lets no other level through.
  return { time, level: level as EngineLogLevel, message };
}
