import { AppError } from '../../../../shared/errors.ts';
import type { OutgoingResponse } from '../../../../shared/outgoing-http.ts';
import { bodyText, retryAfterOf, unavailable } from '../source-requests.ts';

export const hubName = 'Hugging Face';

/** What was asked for, for messages that a person can act on. */
export type HubSubject = {
  /** `org/name`; null for searches. */
  model: string | null;
  revision?: string | null;
  path?: string | null;
  /** Address of the model's page. */
  page: string;
  hasToken: boolean;
  nowMs: number;
};

const waitWithoutHintSeconds = 60;

function messageOf(response: OutgoingResponse): string {
  const header = response.headers['x-error-message'];
  if (header !== undefined && header !== '') return header.slice(0, 300);
  try {
    const body: unknown = JSON.parse(bodyText(response).slice(0, 10_000));
    const error = typeof body === 'object' && body !== null && 'error' in body ? body.error : '';
    return typeof error === 'string' ? error.slice(0, 300) : '';
  } catch {
    // An error page in HTML: nothing in it is for callers.
    return '';
  }
}

function notFound({ model, hasToken }: HubSubject, internal: string): AppError {
  const advice = hasToken ? 'or is private and the configured token has no access to it' : 'or is private and needs a token (HF_TOKEN)';
  return new AppError('MODEL_NOT_FOUND', `${model ?? 'The model'} does not exist on ${hubName}, ${advice}.`, { internal });
}

function gated({ model, page, hasToken }: HubSubject, internal: string): AppError {
  const token = hasToken ? 'with the account of the configured token' : 'and set HF_TOKEN to a token of an account that has it';
  const message = `${model ?? 'The model'} is gated: ask for access at ${page} ${token}.`;
  return new AppError('MODEL_GATED', message, { internal, details: { url: page } });
}

function refused(response: OutgoingResponse, subject: HubSubject, message: string): AppError {
  const { status } = response;
  const internal = `HTTP ${status}: ${message}`;
  if (/resource is disabled/i.test(message)) {
    return new AppError('MODEL_NOT_FOUND', `${subject.model ?? 'The model'} was taken down from ${hubName}.`, { internal });
  }
  if (/gated|restricted|awaiting a review|ask for access/i.test(message)) return gated(subject, internal);
  // An anonymous caller gets 401 for a missing repository as well.
  if (subject.model !== null && status === 401) return notFound(subject, internal);
  const what = subject.hasToken ? 'refused the request: check the token (HF_TOKEN)' : 'refused the request';
  return unavailable(hubName, what, { internal });
}

/** By `X-Error-Code`, the Hub's own word; undefined when it said none that is known. */
function byErrorCode(code: string, subject: HubSubject, internal: string): AppError | undefined {
  const name = subject.model ?? 'The model';
  if (code === 'GatedRepo') return gated(subject, internal);
  if (code === 'RepoNotFound') return notFound(subject, internal);
  if (code === 'RevisionNotFound') return new AppError('MODEL_NOT_FOUND', `${name} has no revision ${subject.revision ?? 'of that name'}.`, { internal });
  if (code === 'EntryNotFound') return new AppError('FILE_NOT_FOUND', `${name} has no file ${subject.path ?? 'of that name'}.`, { internal });
  return undefined;
}

function rateLimited(subject: HubSubject, retryAfterSeconds: number, internal: string): AppError {
  const advice = subject.hasToken ? '' : ' A token (HF_TOKEN) raises the limit.';
  return new AppError('RATE_LIMITED', `${hubName} limits our requests for the next ${retryAfterSeconds} s.${advice}`, { internal, retryAfterSeconds });
}

/** The AppError for an answer that is no success. */
export function toHubError(response: OutgoingResponse, subject: HubSubject): AppError {
  const { status, headers } = response;
  const message = messageOf(response);
  const code = headers['x-error-code'] ?? '';
  const internal = `HTTP ${status} ${code}: ${message}`;
  const retryAfterSeconds = retryAfterOf(headers, subject.nowMs);
  if (status === 429) return rateLimited(subject, retryAfterSeconds ?? waitWithoutHintSeconds, internal);
  const told = byErrorCode(code, subject, internal);
  if (told) return told;
  if (status === 401 || status === 403) return refused(response, subject, message);
  if ((status === 404 || status === 400) && subject.model !== null) return notFound(subject, internal);
  return unavailable(hubName, `answered with HTTP ${status}`, { internal, retryAfterSeconds });
}
