export type RequestErrorOptions = { param?: string; retryAfterSeconds?: number };

/** A refusal in the words of the OpenAI API: status, code and the parameter at fault. */
export class RequestError extends Error {
  override readonly name = 'RequestError';
  readonly status: number;
  readonly code: string;
  readonly param: string | null;
  readonly retryAfterSeconds: number | undefined;

  constructor(status: number, code: string, message: string, options: RequestErrorOptions = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.param = options.param ?? null;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

export function toErrorBody(error: RequestError): object {
  const type = error.status >= 500 ? 'server_error' : error.status === 401 ? 'authentication_error' : 'invalid_request_error';
  return { error: { message: error.message, type, param: error.param, code: error.code } };
}
