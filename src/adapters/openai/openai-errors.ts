import type { ServerResponse } from 'node:http';
import type { AppError, ErrorCode } from '../../shared/errors.ts';
import { httpStatusOf, retryAfterSecondsOf, sendJson } from '../http/error-response.ts';

/** Codes that clients of OpenAI look for by name; any other one is ours in lower case. */
const knownCodes: Partial<Record<ErrorCode, string>> = {
  UNAUTHENTICATED: 'invalid_api_key',
  DEPLOYMENT_NOT_FOUND: 'model_not_found',
  CONTEXT_EXCEEDED: 'context_length_exceeded',
  RATE_LIMITED: 'rate_limit_exceeded',
  QUOTA_EXCEEDED: 'insufficient_quota',
  VALIDATION_FAILED: 'invalid_value',
};

export type OpenAiErrorBody = { error: { message: string; type: string; param: string | null; code: string } };

/** OpenAI answers 400 where a prompt is too long. */
export function openAiStatusOf({ code }: AppError): number {
  return code === 'CONTEXT_EXCEEDED' ? 400 : httpStatusOf[code];
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

/** The first field at fault, as OpenAI names it. */
function paramOf({ details }: AppError): string | null {
  const fields = details?.['fields'];
  const first: unknown = Array.isArray(fields) ? fields[0] : undefined;
  return typeof first === 'object' && first !== null && 'field' in first && typeof first.field === 'string' ? first.field : null;
}

export function toOpenAiError(error: AppError): OpenAiErrorBody {
  const { code, message } = error;
  return { error: { message, type: typeOf(openAiStatusOf(error)), param: paramOf(error), code: knownCodes[code] ?? code.toLowerCase() } };
}

/** The error as an answer; after a stream has begun as its last event, after anything else by cutting the connection. */
export function sendOpenAiError(res: ServerResponse, error: AppError): void {
  if (res.headersSent) {
    if (String(res.getHeader('content-type')).startsWith('text/event-stream') && res.writable) res.end(`data: ${JSON.stringify(toOpenAiError(error))}\n\n`);
    else res.destroy();
    return;
  }
  const retryAfter = retryAfterSecondsOf(error);
  const allowed = error.details?.['allowed'];
  sendJson(res, openAiStatusOf(error), toOpenAiError(error), {
    ...(retryAfter !== undefined && { 'retry-after': String(retryAfter) }),
    ...(error.code === 'UNAUTHENTICATED' && { 'www-authenticate': 'Bearer' }),
    ...(error.code === 'METHOD_NOT_ALLOWED' && Array.isArray(allowed) && { allow: allowed.join(', ') }),
  });
}
