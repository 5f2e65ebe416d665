import type { LogFields, Logger } from '../../src/shared/logger.ts';

export type LogRecord = { level: 'debug' | 'info' | 'warn' | 'error'; fields: LogFields; message: string };

/** Keeps what is logged, for tests that look at it. */
export function createRecordingLogger(): Logger & { records: LogRecord[] } {
  const records: LogRecord[] = [];
  const at = (level: LogRecord['level'], bound: LogFields) => (fields: LogFields, message: string) => {
    records.push({ level, fields: { ...bound, ...fields }, message });
  };
  const loggerWith = (bound: LogFields): Logger => ({
    debug: at('debug', bound),
    info: at('info', bound),
    warn: at('warn', bound),
    error: at('error', bound),
    child: (fields) => loggerWith({ ...bound, ...fields }),
  });
  return { ...loggerWith({}), records };
}
