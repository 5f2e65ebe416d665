import type { EngineFailureCode } from './protocol.ts';

/** The engine did not become ready. */
export class EngineStartError extends Error {
  override readonly name = 'EngineStartError';
  readonly code: EngineFailureCode;

  constructor(code: EngineFailureCode, message: string) {
    super(message);
    this.code = code;
  }
}
