import type { ServerResponse } from 'node:http';
import { AppError, type ErrorCode, type ErrorDetails } from '../../shared/errors.ts';

/**
 * The HTTP status of each code. The last group stands in a task's, deployment's or message's own `error` and is
 * here for the case that one reaches a response.
 */
export const httpStatusOf: Record<ErrorCode, number> = {
  VALIDATION_FAILED: 400,
  UNAUTHENTICATED: 401,
  FORBIDDEN: 403,
  MODEL_GATED: 403,
  ORIGIN_NOT_ALLOWED: 403,
  ROUTE_NOT_FOUND: 404,
  UNKNOWN_API_VERSION: 404,
  MODEL_NOT_FOUND: 404,
  FILE_NOT_FOUND: 404,
  DOWNLOAD_NOT_FOUND: 404,
  DEPLOYMENT_NOT_FOUND: 404,
  CHAT_SESSION_NOT_FOUND: 404,
  CHAT_MESSAGE_NOT_FOUND: 404,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  INVALID_STATE: 409,
  MODEL_NOT_INSTALLED: 409,
  MODEL_IN_USE: 409,
  NAME_TAKEN: 409,
  PORT_IN_USE: 409,
  IDEMPOTENCY_CONFLICT: 409,
  PAYLOAD_TOO_LARGE: 413,
  UNSUPPORTED_MEDIA_TYPE: 415,
  MODEL_DOES_NOT_FIT: 422,
  UNSAFE_FILE: 422,
  UNSUPPORTED_MODEL: 422,
  RATE_LIMITED: 429,
  QUOTA_EXCEEDED: 429,
  OVERLOADED: 503,
  SHUTTING_DOWN: 503,
  SOURCE_UNAVAILABLE: 502,
  RUNTIME_UNAVAILABLE: 502,
  TIMEOUT: 504,
  INSUFFICIENT_STORAGE: 507,
  INTERNAL: 500,
  INTEGRITY_FAILED: 502,
  BLOCKED_BY_SCAN: 422,
  SOURCE_CHANGED: 409,
  NETWORK_FAILED: 502,
  START_FAILED: 502,
  CRASHED: 502,
  UNHEALTHY: 502,
  CONTEXT_EXCEEDED: 422,
  INTERRUPTED: 409,
};

/** These tell a client to come back, so they always say when. */
export const retryAfterDefaultSeconds: Partial<Record<ErrorCode, number>> = {
  RATE_LIMITED: 10,
  QUOTA_EXCEEDED: 60,
  OVERLOADED: 2,
  SHUTTING_DOWN: 10,
};

/** The one body of an error in REST; GraphQL's adapter builds its own. */
export type ErrorBody = { error: { code: ErrorCode; message: string; details?: ErrorDetails } };

export function toErrorBody(error: AppError): ErrorBody {
  const { code, message, details } = error;
  return { error: { code, message, ...(details && { details }) } };
}

export function retryAfterSecondsOf(error: AppError): number | undefined {
  return error.retryAfterSeconds === undefined ? retryAfterDefaultSeconds[error.code] : Math.ceil(error.retryAfterSeconds);
}

/** What is shown for an error nobody foresaw; the log has the rest under the request id. */
export function maskedError(requestId: string): AppError {
  return new AppError('INTERNAL', 'Something went wrong on our side.', { details: { request_id: requestId } });
}

export function sendJson(res: ServerResponse, status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): void {
  const payload = Buffer.from(JSON.stringify(body), 'utf8');
  res.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'content-length': payload.byteLength, 'cache-control': 'no-store', ...headers });
  res.end(payload);
}

export function sendError(res: ServerResponse, error: AppError): void {
  if (res.headersSent) {
    // A half-sent answer can only be cut, so that nobody takes it for whole.
    res.destroy();
    return;
  }
  const retryAfter = retryAfterSecondsOf(error);
  const allowed = error.code === 'METHOD_NOT_ALLOWED' ? error.details?.['allowed'] : undefined;
  sendJson(res, httpStatusOf[error.code], toErrorBody(error), {
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    ...(error.code === 'UNAUTHENTICATED' && { 'www-authenticate': 'Bearer' }),
    ...(Array.isArray(allowed) && { allow: allowed.join(', ') }),
  });
}
