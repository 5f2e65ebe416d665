import type { ExecutionResult } from 'graphql';
import { AppError, errorCodes, type ErrorCode, type FieldFault } from '../../shared/errors.ts';
import { snakeCase } from '../../shared/json-case.ts';
import { fromWireError } from './errors.ts';

export type Outcome<Data> = { ok: true; data: Data } | { ok: false; error: AppError };

const known: ReadonlySet<unknown> = new Set(errorCodes);

/** `input.maxBytesPerSecond` of a document is `max_bytes_per_second` of a REST body. */
function plainField(field: string): string {
  const [first = '', ...rest] = field.replace(/^input\./, '').split('.');
  // Names of environment variables are the caller's own.
  const isOwn = (at: number): boolean => [first, ...rest][at - 1] === 'environment';
  return [first, ...rest].map((part, at) => (isOwn(at) ? part : snakeCase(part))).join('.');
}

function plainValidation(error: AppError): AppError {
  const fields = error.details?.['fields'];
  if (!Array.isArray(fields)) return error;
  const faults = (fields as FieldFault[]).map((fault) => ({ field: plainField(fault.field), message: fault.message }));
  const first = faults[0];
  const message = first && first.field !== 'query' ? `${first.field}: ${first.message}` : error.message;
  return new AppError(error.code, message, { details: { ...error.details, fields: faults } });
}

function isRefusal(value: unknown): value is { __typename: string; code: ErrorCode; message: string; [key: string]: unknown } {
  if (typeof value !== 'object' || value === null || !('__typename' in value) || !('code' in value) || !('message' in value)) return false;
  return typeof value.__typename === 'string' && value.__typename.endsWith('Error') && known.has(value.code);
}

const commonFields: ReadonlySet<string> = new Set(['__typename', 'code', 'message', 'path', 'retryAfterSeconds', 'details']);

/** Typed facts of a refusal as the details that they were made of. */
function detailsOf(refusal: Readonly<Record<string, unknown>>): Record<string, unknown> | undefined {
  const details = refusal['details'];
  const facts = Object.entries(refusal).filter(([key, value]) => !commonFields.has(key) && value !== null && value !== undefined);
  const all = { ...(typeof details === 'object' ? details : {}), ...Object.fromEntries(facts.map(([key, value]) => [snakeCase(key), value])) };
  return Object.keys(all).length > 0 ? all : undefined;
}

function refusalError(refusal: { code: ErrorCode; message: string; [key: string]: unknown }): AppError {
  const details = detailsOf(refusal);
  const retryAfterSeconds = refusal['retryAfterSeconds'];
  return new AppError(refusal.code, refusal.message, {
    ...(details ? { details } : {}),
    ...(typeof retryAfterSeconds === 'number' ? { retryAfterSeconds } : {}),
  });
}

/**
 * What an operation came to, for adapters that have one kind of error: GraphQL errors and the typed refusals of
 * mutations become the AppError that they were made of, with REST's field names.
 */
export function readOutcome<Data>(result: ExecutionResult<Data>): Outcome<Data> {
  const [first] = result.errors ?? [];
  if (first) {
    const error = fromWireError(first);
    return { ok: false, error: error.code === 'VALIDATION_FAILED' ? plainValidation(error) : error };
  }
  const { data } = result;
  const refusal = Object.values(data ?? {}).find(isRefusal);
  if (refusal) return { ok: false, error: refusalError(refusal) };
  // Without errors there is data: the type leaves that open.
  return { ok: true, data: data as Data };
}
