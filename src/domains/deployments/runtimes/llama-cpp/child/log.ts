import { writeSync } from 'node:fs';

export type EngineLogLevel = 'debug' | 'info' | 'warn' | 'error';

/** One line per entry: time, level, text. Prompts, answers and secrets are never written. */
export type EngineLog = (level: EngineLogLevel, message: string) => void;

const standardOutput = 1;
const lineLengthMax = 4_000;

/** Written synchronously: the line that says why the engine ends must be in the file when it ends. */
export function createEngineLog(): EngineLog {
  return (level, message) => {
    const text = message.trim().replaceAll(/\s*\n\s*/g, ' | ').slice(0, lineLengthMax);
    if (text === '') return;
    try {
      writeSync(standardOutput, `${new Date().toISOString()} ${level} ${text}\n`);
    } catch {
      // A full disk or a closed file: answers are worth more than their log.
    }
  };
}
