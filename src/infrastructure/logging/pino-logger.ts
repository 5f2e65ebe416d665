import { Transform } from 'node:stream';
import { pino, type DestinationStream, type Logger as PinoLogger } from 'pino';
import { PinoPretty } from 'pino-pretty';
import type { LogFields, Logger } from '../../shared/logger.ts';
import { toTerminalText } from './safe-text.ts';

export type LogLevelName = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace' | 'silent';

export type LoggingOptions = {
  level: LogLevelName;
  /** For people on a terminal; JSON lines otherwise. */
  pretty: boolean;
  destination: NodeJS.WritableStream;
};

/** Wherever one of these turns up in what is logged, two levels deep, its value is left out. */
const secretNames = ['authorization', 'apiKey', 'api_key', 'key', 'token', 'secret', 'password', 'cookie', 'x-api-key'];
const redactPaths = secretNames.flatMap((name) => {
  const quoted = `["${name}"]`;
  return [quoted, `*${quoted}`, `*.*${quoted}`];
});

/** Pretty output of text that came from outside must not steer the terminal; pino-pretty's own colours may. */
function prettyStream(destination: NodeJS.WritableStream): DestinationStream {
  const safeFields = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      // JSON escapes C0 but leaves C1 and bidi raw; on the JSON line every newline ends a record.
      done(null, chunk.toString('utf8').split('\n').map(toTerminalText).join('\n'));
    },
  });
  safeFields.pipe(PinoPretty({ colorize: true, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss', destination, sync: true }));
  return safeFields;
}

/** Libraries hang connections and whole clients on their errors; what helps is the text, the code and the cause. */
function describeError(value: unknown, depth = 0): unknown {
  if (!(value instanceof Error)) return value;
  const { code } = value as NodeJS.ErrnoException;
  const cause = value.cause === undefined || depth >= causesMax ? {} : { cause: describeError(value.cause, depth + 1) };
  return { type: value.name, message: value.message, ...(code === undefined ? {} : { code }), stack: value.stack, ...cause };
}

const causesMax = 3;

function wrap(logger: PinoLogger): Logger {
  return {
    debug: (fields, message) => logger.debug(fields, message),
    info: (fields, message) => logger.info(fields, message),
    warn: (fields, message) => logger.warn(fields, message),
    error: (fields, message) => logger.error(fields, message),
    child: (fields: LogFields) => wrap(logger.child(fields)),
  };
}

export function createLogger({ level, pretty, destination }: LoggingOptions): Logger {
  const serializers = { err: describeError, error: describeError };
  const options = { level, redact: { paths: redactPaths, censor: '[redacted]' }, base: null, serializers };
  return wrap(pino(options, pretty ? prettyStream(destination) : destination));
}
