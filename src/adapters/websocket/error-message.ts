import type { AppError } from '../../shared/errors.ts';

/** What the trouble is about, as far as it is known. */
export type ErrorPlace = { requestId?: string | null; messageId?: string | null };

/** An error as a socket's or an event stream's message. */
export function errorMessage({ code, message, details }: AppError, { requestId, messageId }: ErrorPlace): Record<string, unknown> & { type: 'error' } {
  return {
    type: 'error',
    ...(typeof requestId === 'string' && { request_id: requestId }),
    ...(typeof messageId === 'string' && { message_id: messageId }),
    error: { code, message, ...(details && { details }) },
  };
}
