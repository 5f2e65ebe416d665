import { AppError, errorCodes, isAppError, type ErrorCode } from '../shared/errors.ts';
import { isAbort } from '../shared/abort.ts';
import { toTerminalText } from '../infrastructure/logging/safe-text.ts';

/** What the process ends with; scripts rely on the numbers. */
export const exitCodes = { done: 0, failed: 1, usage: 2, unreachable: 3, notFound: 4, forbidden: 5, interrupted: 130 } as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

const notFound: readonly ErrorCode[] = ['MODEL_NOT_FOUND', 'FILE_NOT_FOUND', 'DOWNLOAD_NOT_FOUND', 'DEPLOYMENT_NOT_FOUND', 'CHAT_SESSION_NOT_FOUND', 'CHAT_MESSAGE_NOT_FOUND', 'NOT_FOUND'];
const forbidden: readonly ErrorCode[] = ['UNAUTHENTICATED', 'FORBIDDEN', 'MODEL_GATED', 'ORIGIN_NOT_ALLOWED'];

/** The command was used in a way that cannot work. */
export function wrongUsage(message: string): AppError {
  return new AppError('VALIDATION_FAILED', message);
}

/** Nobody who speaks this service's protocol answers. */
export class ServiceUnreachable extends AppError {
  constructor(message: string, cause?: unknown) {
    super('NETWORK_FAILED', message, { cause });
  }
}

export function exitCodeOf(error: unknown): ExitCode {
  if (isAbort(error)) return exitCodes.interrupted;
  if (error instanceof ServiceUnreachable) return exitCodes.unreachable;
  if (!isAppError(error)) return exitCodes.failed;
  if (error.code === 'VALIDATION_FAILED') return exitCodes.usage;
  if (notFound.includes(error.code)) return exitCodes.notFound;
  return forbidden.includes(error.code) ? exitCodes.forbidden : exitCodes.failed;
}

/** The one line that says why: the code, then a sentence for a person. */
export function failureLine(error: unknown): string {
  const code = isAppError(error) ? error.code : isAbort(error) ? 'INTERRUPTED' : 'INTERNAL';
  const message = isAbort(error) ? 'stopped before it was done' : error instanceof Error ? error.message : String(error);
  return `llm-manager: ${code}: ${toTerminalText(message).replaceAll(/\s*\n\s*/g, ' ').trim()}`;
}

const known: ReadonlySet<string> = new Set(errorCodes);

/** A code that came over the wire; one that this version does not know counts as the service's fault. */
export function toErrorCode(value: unknown): ErrorCode {
  return typeof value === 'string' && known.has(value) ? (value as ErrorCode) : 'INTERNAL';
}
