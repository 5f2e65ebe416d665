/**
 * The closed list of error codes that callers may see (`contract/rest.md`). A code is added by a decision in
 * `docs/decisions/`, never by the way: each adapter has a table over this union, so a missing code does not compile.
 */
export const errorCodes = [
  'VALIDATION_FAILED',
  'UNAUTHENTICATED',
  'FORBIDDEN',
  'MODEL_GATED',
  'ORIGIN_NOT_ALLOWED',
  'ROUTE_NOT_FOUND',
  'UNKNOWN_API_VERSION',
  'MODEL_NOT_FOUND',
  'FILE_NOT_FOUND',
  'DOWNLOAD_NOT_FOUND',
  'DEPLOYMENT_NOT_FOUND',
  'CHAT_SESSION_NOT_FOUND',
  'CHAT_MESSAGE_NOT_FOUND',
  'NOT_FOUND',
  'METHOD_NOT_ALLOWED',
  'INVALID_STATE',
  'MODEL_NOT_INSTALLED',
  'MODEL_IN_USE',
  'NAME_TAKEN',
  'PORT_IN_USE',
  'IDEMPOTENCY_CONFLICT',
  'PAYLOAD_TOO_LARGE',
  'UNSUPPORTED_MEDIA_TYPE',
  'MODEL_DOES_NOT_FIT',
  'UNSAFE_FILE',
  'UNSUPPORTED_MODEL',
  'RATE_LIMITED',
  'QUOTA_EXCEEDED',
  'OVERLOADED',
  'SHUTTING_DOWN',
  'SOURCE_UNAVAILABLE',
  'RUNTIME_UNAVAILABLE',
  'TIMEOUT',
  'INSUFFICIENT_STORAGE',
  'INTERNAL',
  'INTEGRITY_FAILED',
  'BLOCKED_BY_SCAN',
  'SOURCE_CHANGED',
  'NETWORK_FAILED',
  'START_FAILED',
  'CRASHED',
  'UNHEALTHY',
  'CONTEXT_EXCEEDED',
  'INTERRUPTED',
] as const;

export type ErrorCode = (typeof errorCodes)[number];

/** JSON-safe facts about an error, snake_case, e.g. `{required_bytes, available_bytes}`; shown to callers. */
export type ErrorDetails = Readonly<Record<string, unknown>>;

export type AppErrorOptions = {
  details?: ErrorDetails;
  /** For the log only; never sent to a caller. */
  internal?: string;
  cause?: unknown;
  /** When a later try may succeed; becomes `Retry-After`. */
  retryAfterSeconds?: number;
};

/** A failure that a caller is meant to understand. Anything else that is thrown is masked as INTERNAL. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails | undefined;
  readonly internal: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details;
    this.internal = options.internal;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export function isAppError(error: unknown, ...codes: readonly ErrorCode[]): error is AppError {
  return error instanceof AppError && (codes.length === 0 || codes.includes(error.code));
}

/** One field that was refused; `VALIDATION_FAILED` carries a list of them as `details.fields`. */
export type FieldFault = { field: string; message: string };

export function validationFailed(faults: readonly FieldFault[]): AppError {
  const first = faults[0];
  const message = first ? `${first.field}: ${first.message}` : 'The input is not valid.';
  return new AppError('VALIDATION_FAILED', message, { details: { fields: faults } });
}

/** What a task's, deployment's or message's own `error` column holds. */
export type StoredError = { code: ErrorCode; message: string };

export function toStoredError(error: unknown, fallback: ErrorCode, fallbackMessage: string): StoredError {
  return error instanceof AppError ? { code: error.code, message: error.message } : { code: fallback, message: fallbackMessage };
}
