import { AppError, type ErrorCode as Code, type ErrorDetails } from '../../../shared/errors.ts';
import { builder } from '../builder.ts';
import { ErrorCode } from './error-code.ts';

/** Set on every refusal: the library hands them on behind a proxy, for which `instanceof` does not hold. */
const refusal = Symbol('refusal');

/** A refusal that the caller is expected to handle: data of a mutation's result, not a GraphQL error. */
export abstract class UserError extends Error {
  readonly [refusal] = true;
  readonly code: Code;
  readonly details: ErrorDetails;
  readonly retryAfterSeconds: number | undefined;

  constructor(error: AppError) {
    super(error.message, { cause: error });
    this.code = error.code;
    this.details = error.details ?? {};
    this.retryAfterSeconds = error.retryAfterSeconds;
  }
}

export class NotFoundError extends UserError {}
export class InvalidStateError extends UserError {}
export class ConflictError extends UserError {}
export class ModelRefusedError extends UserError {}
export class ModelDoesNotFitError extends UserError {}
export class InsufficientStorageError extends UserError {}
export class UnavailableError extends UserError {}

/** The code of a refusal that a mutation's resolver has answered with; null for a payload. */
export function refusalCodeOf(result: unknown): Code | null {
  return typeof result === 'object' && result !== null && refusal in result ? (result as UserError).code : null;
}

type UserErrorClass = new (error: AppError) => UserError;

/** Null: a fault, which stays a GraphQL error. */
const classOf: Readonly<Record<Code, { type: UserErrorClass; path: readonly string[] } | null>> = {
  MODEL_NOT_FOUND: { type: NotFoundError, path: ['input', 'modelId'] },
  FILE_NOT_FOUND: { type: NotFoundError, path: ['input', 'variant'] },
  DOWNLOAD_NOT_FOUND: { type: NotFoundError, path: ['input', 'taskId'] },
  DEPLOYMENT_NOT_FOUND: { type: NotFoundError, path: ['input', 'deploymentId'] },
  CHAT_SESSION_NOT_FOUND: { type: NotFoundError, path: ['input', 'sessionId'] },
  CHAT_MESSAGE_NOT_FOUND: { type: NotFoundError, path: ['input', 'messageId'] },
  NOT_FOUND: { type: NotFoundError, path: ['input'] },
  INVALID_STATE: { type: InvalidStateError, path: ['input'] },
  MODEL_NOT_INSTALLED: { type: ConflictError, path: ['input', 'modelId'] },
  MODEL_IN_USE: { type: ConflictError, path: ['input'] },
  NAME_TAKEN: { type: ConflictError, path: ['input', 'name'] },
  PORT_IN_USE: { type: ConflictError, path: ['input', 'config', 'port'] },
  IDEMPOTENCY_CONFLICT: { type: ConflictError, path: ['input', 'idempotencyKey'] },
  MODEL_GATED: { type: ModelRefusedError, path: ['input', 'modelId'] },
  UNSAFE_FILE: { type: ModelRefusedError, path: ['input', 'modelId'] },
  UNSUPPORTED_MODEL: { type: ModelRefusedError, path: ['input', 'modelId'] },
  MODEL_DOES_NOT_FIT: { type: ModelDoesNotFitError, path: ['input', 'config', 'contextSize'] },
  INSUFFICIENT_STORAGE: { type: InsufficientStorageError, path: ['input'] },
  SOURCE_UNAVAILABLE: { type: UnavailableError, path: ['input', 'modelId'] },
  RUNTIME_UNAVAILABLE: { type: UnavailableError, path: ['input', 'runtime'] },
  VALIDATION_FAILED: null,
  UNAUTHENTICATED: null,
  FORBIDDEN: null,
  ORIGIN_NOT_ALLOWED: null,
  ROUTE_NOT_FOUND: null,
  UNKNOWN_API_VERSION: null,
  METHOD_NOT_ALLOWED: null,
  PAYLOAD_TOO_LARGE: null,
  UNSUPPORTED_MEDIA_TYPE: null,
  RATE_LIMITED: null,
  QUOTA_EXCEEDED: null,
  OVERLOADED: null,
  SHUTTING_DOWN: null,
  TIMEOUT: null,
  INTERNAL: null,
  INTEGRITY_FAILED: null,
  BLOCKED_BY_SCAN: null,
  SOURCE_CHANGED: null,
  NETWORK_FAILED: null,
  START_FAILED: null,
  CRASHED: null,
  UNHEALTHY: null,
  CONTEXT_EXCEEDED: null,
  INTERRUPTED: null,
};

/** Runs a mutation; refusals that callers handle become the typed errors of its result. */
export async function outcomeOf<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const match = error instanceof AppError ? classOf[error.code] : null;
    if (match && error instanceof AppError) throw new match.type(error);
    throw error;
  }
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' ? value : null;
}

function numberOf(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null;
}

const UserErrorInterface = builder.interfaceRef<UserError>('UserError').implement({
  description: 'A refusal that a caller is expected to handle.',
  fields: (t) => ({
    code: t.field({ type: ErrorCode, description: 'What it is, from the closed list.', resolve: (error) => error.code }),
    message: t.exposeString('message', { description: 'One sentence for a person.' }),
    path: t.stringList({ description: 'The input that it is about, from `input` inwards.', resolve: (error) => [...(classOf[error.code]?.path ?? ['input'])] }),
  }),
});

const interfaces = [UserErrorInterface];

builder.objectType(NotFoundError, { name: 'NotFoundError', interfaces, description: 'What was named does not exist, or belongs to somebody else.' });

builder.objectType(InvalidStateError, {
  name: 'InvalidStateError',
  interfaces,
  description: 'It cannot be done in the present state.',
  fields: (t) => ({
    status: t.string({ nullable: true, description: 'The present state.', resolve: (error) => textOf(error.details['status']) }),
    allowed: t.stringList({
      description: 'The states in which it could be done, or what could be done in this one.',
      resolve: ({ details: { allowed } }) => (Array.isArray(allowed) ? allowed.map(String) : []),
    }),
  }),
});

builder.objectType(ConflictError, {
  name: 'ConflictError',
  interfaces,
  description: 'Something that exists already stands in the way.',
  fields: (t) => ({
    details: t.field({ type: 'JSON', description: 'Further facts; they differ from code to code.', resolve: (error) => error.details }),
  }),
});

builder.objectType(ModelRefusedError, {
  name: 'ModelRefusedError',
  interfaces,
  description: 'The model itself cannot be taken: it is gated, unsafe or of a kind that nothing here can load.',
  fields: (t) => ({
    details: t.field({ type: 'JSON', description: 'Further facts, such as how to get access; they differ from code to code.', resolve: (error) => error.details }),
  }),
});

builder.objectType(ModelDoesNotFitError, {
  name: 'ModelDoesNotFitError',
  interfaces,
  description: 'The model needs more memory than this machine has free.',
  fields: (t) => ({
    neededBytes: t.field({ type: 'ByteSize', nullable: true, description: 'Memory that it needs, in bytes.', resolve: (error) => numberOf(error.details['needed_bytes']) }),
    availableBytes: t.field({ type: 'ByteSize', nullable: true, description: 'Memory that is free, in bytes.', resolve: (error) => numberOf(error.details['available_bytes']) }),
    maxContextSize: t.int({ nullable: true, description: 'Biggest context that would fit, in tokens.', resolve: (error) => numberOf(error.details['max_context_size']) }),
  }),
});

builder.objectType(InsufficientStorageError, {
  name: 'InsufficientStorageError',
  interfaces,
  description: 'There is not enough room on the disk.',
  fields: (t) => ({
    requiredBytes: t.field({ type: 'ByteSize', nullable: true, description: 'Room that is needed, in bytes.', resolve: (error) => numberOf(error.details['required_bytes']) }),
    availableBytes: t.field({ type: 'ByteSize', nullable: true, description: 'Room that is free and not reserved, in bytes.', resolve: (error) => numberOf(error.details['available_bytes']) }),
  }),
});

builder.objectType(UnavailableError, {
  name: 'UnavailableError',
  interfaces,
  description: 'A source or a runtime does not answer.',
  fields: (t) => ({
    retryAfterSeconds: t.int({ nullable: true, description: 'When another try may help, in seconds.', resolve: (error) => error.retryAfterSeconds ?? null }),
    details: t.field({ type: 'JSON', description: 'Further facts; they differ from code to code.', resolve: (error) => error.details }),
  }),
});
