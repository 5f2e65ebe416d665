import { PothosValidationError } from '@pothos/core';
import { GraphQLError, type GraphQLErrorExtensions, type GraphQLFormattedError } from 'graphql';
import { isAbort } from '../../shared/abort.ts';
import { AppError, errorCodes, isAppError, type ErrorCode, type FieldFault } from '../../shared/errors.ts';
import type { Logger } from '../../shared/logger.ts';

export type ErrorScope = {
  requestId: string;
  logger: Logger;
  /**
   * Keep the status that Yoga wants for its response; it takes it out of the answer by itself. A body that is no
   * GraphQL request is 400 whatever the client accepts.
   */
  isHttp?: boolean;
};

/** What `extensions` of our errors hold. */
export type ErrorExtensions = { code: ErrorCode; requestId: string; details?: Readonly<Record<string, unknown>>; retryAfterSeconds?: number };

const known: ReadonlySet<unknown> = new Set(errorCodes);
/** `Variable "$input" got invalid value 5 at "input.priority"; Int cannot ...` */
const variablePattern = /^Variable "\$([^"]+)" got invalid value (?:[\s\S]*? at "([^"]+)"|[\s\S]*?); ([\s\S]*)$/;
const requiredPattern = /^(?:Variable "\$([^"]+)"|Argument "([^"]+)") of (?:required|non-null) type /;
const argumentPattern = /^Argument "([^"]+)" ([\s\S]*)$/;
/** A refused value is repeated in messages of graphql-js; an answer needs no more of it than this. */
const messageMax = 500;

/** An error that is ready for its caller, so that none is mapped or logged twice on its way out. */
class WireError extends GraphQLError {}

function shorten(text: string): string {
  return text.length > messageMax ? `${text.slice(0, messageMax)}...` : text;
}

/** The thing that was thrown, below GraphQL's own wrapping. */
function originOf(error: unknown): unknown {
  let origin = error;
  while (origin instanceof GraphQLError && origin.originalError) origin = origin.originalError;
  return origin;
}

function faultOf(message: string): FieldFault {
  const required = requiredPattern.exec(message);
  if (required) return { field: required[1] ?? required[2] ?? 'query', message: 'is required' };
  const variable = variablePattern.exec(message);
  if (variable) return { field: variable[2] ?? variable[1] ?? 'variables', message: shorten(variable[3] ?? message) };
  const argument = argumentPattern.exec(message);
  if (argument) return { field: argument[1] ?? 'query', message: shorten(argument[2] ?? message) };
  return { field: 'query', message: shorten(message) };
}

function refusedInput(error: GraphQLError): AppError {
  const fault = faultOf(error.message);
  return new AppError('VALIDATION_FAILED', fault.field === 'query' ? fault.message : `${fault.field}: ${fault.message}`, { details: { fields: [fault] } });
}

/** Status codes with which Yoga refuses requests before any field runs. */
function codeOfStatus(error: GraphQLError): ErrorCode | null {
  const status = error.extensions.http?.status;
  if (status === 413) return 'PAYLOAD_TOO_LARGE';
  if (status === 405) return 'METHOD_NOT_ALLOWED';
  if (status === 415) return 'UNSUPPORTED_MEDIA_TYPE';
  return null;
}

/** Yoga says 400 to a body that is no JSON or no GraphQL request. */
function isRefusedRequest(error: GraphQLError): boolean {
  return error.path === undefined && error.extensions.http?.status === 400;
}

/** An error of GraphQL itself: the caller's input before execution, ours (a value that no type can hold) during it. */
function isCallersFault(error: GraphQLError): boolean {
  return error.path === undefined || argumentPattern.test(error.message);
}

/** The AppError that a caller is shown for whatever was thrown; null = ours, to be masked. */
function toAppError(error: unknown): AppError | null {
  const origin = originOf(error);
  if (isAppError(origin)) return origin;
  if (error instanceof GraphQLError && isRefusedRequest(error)) return refusedInput(error);
  if (origin instanceof PothosValidationError) return refusedInput(origin);
  if (!(origin instanceof GraphQLError)) return null;
  const code = codeOfStatus(origin);
  if (code) return new AppError(code, origin.message);
  // The outermost one says which variable or argument it is about.
  const outer = error instanceof GraphQLError ? error : origin;
  return isCallersFault(outer) ? refusedInput(outer) : null;
}

function mask(error: unknown, { requestId, logger }: ErrorScope): AppError {
  // Somebody who went away has nobody to be told, and stopping is no fault.
  if (isAbort(originOf(error))) return new AppError('TIMEOUT', 'The operation was stopped.');
  logger.error({ err: originOf(error), path: error instanceof GraphQLError ? error.path?.join('.') : undefined, requestId }, 'operation failed');
  return new AppError('INTERNAL', 'Something went wrong on our side.');
}

/** `config.base_url` is `config.baseUrl` here; names of environment variables are the caller's own. */
function camelCase(field: string): string {
  const [before = '', ...own] = field.split(/(?<=(?:^|\.)environment)\./);
  return [before.replaceAll(/_([a-z])/g, (_match, letter: string) => letter.toUpperCase()), ...own].join('.');
}

/** Domains name fields as REST does; here they are named as the caller of GraphQL wrote them. */
function inGraphqlWords(error: AppError): AppError {
  const fields = error.details?.['fields'];
  if (error.code !== 'VALIDATION_FAILED' || !Array.isArray(fields)) return error;
  const faults = (fields as FieldFault[]).map(({ field, message }) => ({ field: camelCase(field), message }));
  const [first] = fields as FieldFault[];
  const isNamed = first !== undefined && error.message === `${first.field}: ${first.message}`;
  const { retryAfterSeconds, internal } = error;
  return new AppError(error.code, isNamed ? `${camelCase(first.field)}: ${first.message}` : error.message, {
    details: { ...error.details, fields: faults },
    cause: error,
    ...(internal === undefined ? {} : { internal }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  });
}

function extensionsOf({ code, details, retryAfterSeconds }: AppError, { requestId }: ErrorScope): ErrorExtensions {
  return { code, requestId, ...(details ? { details } : {}), ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }) };
}

/** What Yoga wants of its response, less the exception for older clients when the body is no request at all. */
function responseOf({ extensions }: GraphQLError): Pick<GraphQLErrorExtensions, 'http'> {
  const { http, code } = extensions;
  if (!http) return {};
  return { http: http.status === 400 && code === 'BAD_REQUEST' ? { status: 400 } : http };
}

/** An error as callers see it: `extensions.code` of the closed list, request id, details; logged when it is ours. */
export function toWireError(error: unknown, scope: ErrorScope): GraphQLError {
  if (error instanceof WireError) return error;
  const shown = inGraphqlWords(toAppError(error) ?? mask(error, scope));
  const given = error instanceof GraphQLError ? error : undefined;
  return new WireError(shown.message, {
    nodes: given?.nodes ?? null,
    source: given?.source ?? null,
    positions: given?.positions ?? null,
    path: given?.path ?? null,
    extensions: { ...extensionsOf(shown, scope), ...(scope.isHttp && given ? responseOf(given) : {}) },
  });
}

export function toWireResult<R extends { errors?: readonly unknown[] | undefined }>(result: R, scope: ErrorScope): R {
  return result.errors ? { ...result, errors: result.errors.map((error) => toWireError(error, scope)) } : result;
}

/** Reads back what `toWireError` wrote, also from an error that came over the wire. */
export function fromWireError({ message, extensions }: GraphQLError | GraphQLFormattedError): AppError {
  const { code, details, retryAfterSeconds } = extensions ?? {};
  return new AppError(known.has(code) ? (code as ErrorCode) : 'INTERNAL', message, {
    ...(typeof details === 'object' && details !== null ? { details: details as Record<string, unknown> } : {}),
    ...(typeof retryAfterSeconds === 'number' ? { retryAfterSeconds } : {}),
  });
}
