/**
 * `NOT_GGUF`: another kind of file. `TRUNCATED`: bytes that the header speaks of are missing. `UNSUPPORTED`: a version
 * or tensor type that is not known here. `MALFORMED`: it contradicts itself. `LIMIT_EXCEEDED`: larger than any real one.
 */
export type GgufErrorCode = 'NOT_GGUF' | 'TRUNCATED' | 'UNSUPPORTED' | 'MALFORMED' | 'LIMIT_EXCEEDED';

/** The one error that reading a GGUF header throws by itself; what `readAt` throws passes through. */
export class GgufError extends Error {
  override readonly name = 'GgufError';
  readonly code: GgufErrorCode;

  constructor(code: GgufErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
