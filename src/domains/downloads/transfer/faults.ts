import { AppError } from '../../../shared/errors.ts';
import { systemErrorCode } from '../../../shared/system-error.ts';

/**
 * What can go wrong with one request for bytes. None of them reaches a caller as it is: the transfer answers them by
 * asking again, and when that does not help it ends with an AppError.
 *
 * `connection`: refused, reset, ended early, no such host. `stalled`: open, but nothing comes. `slow`: far behind the
 * other connections. `bad_answer`: a status or range that was not asked for. `range_ignored`: the whole file instead
 * of the range. `expired`: the address is no longer honoured. `missing`: nothing there. `throttled`: told to wait.
 * `changed`: other bytes than those that were begun with.
 */
export type TransferFaultKind = 'connection' | 'stalled' | 'slow' | 'bad_answer' | 'range_ignored' | 'expired' | 'missing' | 'throttled' | 'changed';

export class TransferFault extends Error {
  override readonly name = 'TransferFault';
  readonly kind: TransferFaultKind;
  /** How long the other side wants to be left alone. */
  readonly waitMs: number | null;

  constructor(kind: TransferFaultKind, message: string, options: { waitMs?: number | null; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.waitMs = options.waitMs ?? null;
  }
}

/** The finished file is not what the source promised. */
export class MismatchFault extends Error {
  override readonly name = 'MismatchFault';
}

const fullCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export function isMissingFile(error: unknown): boolean {
  return systemErrorCode(error) === 'ENOENT';
}

export function insufficientStorage(requiredBytes: number, availableBytes: number, cause?: unknown): AppError {
  return new AppError('INSUFFICIENT_STORAGE', 'There is not enough room on the disk for this download.', {
    details: { required_bytes: requiredBytes, available_bytes: availableBytes },
    cause,
  });
}

/** Puts what the disk answered into words; anything else passes through. */
export function toStorageError(error: unknown, requiredBytes: number): unknown {
  const code = systemErrorCode(error);
  if (code === undefined || typeof error !== 'object' || error === null || !('syscall' in error)) return error;
  const internal = 'message' in error && typeof error.message === 'string' ? error.message : code;
  if (fullCodes.has(code)) return insufficientStorage(requiredBytes, 0, error);
  return new AppError('INTERNAL', `The models folder cannot be written to (${code}).`, { cause: error, internal });
}

/** What a caller is told when asking again has not helped. */
export function toOutage(fault: TransferFault): AppError {
  const retryAfter = fault.waitMs === null ? {} : { retryAfterSeconds: Math.ceil(fault.waitMs / 1000) };
  const options = { cause: fault, internal: fault.message, ...retryAfter };
  switch (fault.kind) {
    case 'throttled':
      return new AppError('RATE_LIMITED', 'The source asks us to wait before the next request.', options);
    case 'missing':
      return new AppError('FILE_NOT_FOUND', 'The source no longer has this file.', options);
    case 'changed':
      return new AppError('SOURCE_CHANGED', 'The file changed at the source while it was being fetched.', options);
    case 'expired':
    case 'bad_answer':
    case 'range_ignored':
      return new AppError('SOURCE_UNAVAILABLE', 'The storage behind the source does not give out the file at present.', options);
    case 'connection':
    case 'stalled':
    case 'slow':
      return new AppError('NETWORK_FAILED', 'The connection to the storage behind the source was lost.', options);
  }
}
