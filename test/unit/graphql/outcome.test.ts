import { describe, expect, it } from '@jest/globals';
import { GraphQLError } from 'graphql';
import { toWireError } from '../../../src/adapters/graphql/errors.ts';
import { readOutcome } from '../../../src/adapters/graphql/outcome.ts';
import { StopReason } from '../../../src/shared/abort.ts';
import { AppError, validationFailed } from '../../../src/shared/errors.ts';
import { createRecordingLogger } from '../../support/recording-logger.ts';

function scopeOf(logger = createRecordingLogger()) {
  return { requestId: 'request-1', logger };
}

function errorOf(result: Parameters<typeof readOutcome>[0]): AppError {
  const outcome = readOutcome(result);
  if (outcome.ok) throw new Error('expected an error');
  return outcome.error;
}

describe('readOutcome', () => {
  it('gives back the code, message, details and retry time of an error that was thrown', () => {
    const thrown = new AppError('RATE_LIMITED', 'Slowly.', { details: { limit: 5 }, retryAfterSeconds: 7 });
    const error = errorOf({ errors: [toWireError(new GraphQLError('Slowly.', { originalError: thrown }), scopeOf())] });
    expect(error).toMatchObject({ code: 'RATE_LIMITED', message: 'Slowly.', details: { limit: 5 }, retryAfterSeconds: 7 });
  });

  it('gives back the details of typed refusals in snake case', () => {
    const refusal = { __typename: 'InsufficientStorageError', code: 'INSUFFICIENT_STORAGE', message: 'Full.', path: ['input'], requiredBytes: 10, availableBytes: 5 };
    expect(errorOf({ data: { startDownload: refusal } })).toMatchObject({ code: 'INSUFFICIENT_STORAGE', details: { required_bytes: 10, available_bytes: 5 } });
    const state = { __typename: 'InvalidStateError', code: 'INVALID_STATE', message: 'No.', path: ['input'], status: 'completed', allowed: ['paused'] };
    expect(errorOf({ data: { resumeDownload: state } }).details).toEqual({ status: 'completed', allowed: ['paused'] });
    const conflict = { __typename: 'ConflictError', code: 'NAME_TAKEN', message: 'Taken.', path: ['input'], details: { name: 'x' } };
    expect(errorOf({ data: { startDeployment: conflict } }).details).toEqual({ name: 'x' });
  });

  it('leaves out details that a refusal does not have', () => {
    expect(errorOf({ data: { x: { __typename: 'NotFoundError', code: 'MODEL_NOT_FOUND', message: 'None.', path: [] } } }).details).toBeUndefined();
  });

  it('leaves the names of environment variables as their owner wrote them', () => {
    const faults = ['input.config.environment.LD_PRELOAD', 'input.config.gpuLayers'].map((field) => ({ field, message: 'no' }));
    const error = errorOf({ errors: [toWireError(validationFailed(faults), scopeOf())] });
    expect(error.details).toEqual({ fields: [{ field: 'config.environment.LD_PRELOAD', message: 'no' }, { field: 'config.gpu_layers', message: 'no' }] });
  });

  it('names refused fields as a REST body has them', () => {
    const thrown = validationFailed([{ field: 'input.maxBytesPerSecond', message: 'must be more' }]);
    const error = errorOf({ errors: [toWireError(thrown, scopeOf())] });
    expect(error.details).toEqual({ fields: [{ field: 'max_bytes_per_second', message: 'must be more' }] });
    expect(error.message).toBe('max_bytes_per_second: must be more');
  });

  it('takes data for data, also when it has a code of its own', () => {
    expect(readOutcome({ data: { lastExit: { __typename: 'LastExit', code: 1, message: 'x' } } })).toEqual({ ok: true, data: { lastExit: { __typename: 'LastExit', code: 1, message: 'x' } } });
  });
});

describe('toWireError', () => {
  it('masks what nobody foresaw and logs it once with the request id', () => {
    const logger = createRecordingLogger();
    const scope = scopeOf(logger);
    const wire = toWireError(new GraphQLError('x', { originalError: new Error('password is hunter2'), path: ['a'] }), scope);
    expect(JSON.stringify(wire)).not.toContain('hunter2');
    expect(wire.extensions).toEqual({ code: 'INTERNAL', requestId: 'request-1' });
    expect(toWireError(wire, scope)).toBe(wire);
    expect(logger.records).toHaveLength(1);
    expect(logger.records[0]?.fields).toMatchObject({ requestId: 'request-1' });
  });

  it('names the variable that was refused', () => {
    const wire = toWireError(new GraphQLError('Variable "$input" got invalid value 5 at "input.priority"; Int cannot represent it'), scopeOf());
    expect(wire.extensions).toMatchObject({ code: 'VALIDATION_FAILED', details: { fields: [{ field: 'input.priority', message: 'Int cannot represent it' }] } });
    const missing = toWireError(new GraphQLError('Variable "$first" of required type "Int!" was not provided.'), scopeOf());
    expect(missing.extensions['details']).toEqual({ fields: [{ field: 'first', message: 'is required' }] });
  });

  it('names fields as callers of GraphQL write them, and leaves names of environment variables alone', () => {
    const wire = toWireError(validationFailed([{ field: 'config.base_url', message: 'no' }, { field: 'config.environment.my_name', message: 'no' }, { field: 'limits.tokens_per_day', message: 'no' }]), scopeOf());
    expect(wire.message).toBe('config.baseUrl: no');
    expect(wire.extensions['details']).toEqual({ fields: [{ field: 'config.baseUrl', message: 'no' }, { field: 'config.environment.my_name', message: 'no' }, { field: 'limits.tokensPerDay', message: 'no' }] });
    expect(errorOf({ errors: [wire] })).toMatchObject({ message: 'config.base_url: no', details: { fields: [{ field: 'config.base_url' }, { field: 'config.environment.my_name' }, { field: 'limits.tokens_per_day' }] } });
  });

  it('counts a value that no type can hold as our fault', () => {
    const wire = toWireError(new GraphQLError('Enum "X" cannot represent value: "y"', { path: ['a', 'b'] }), scopeOf());
    expect(wire.extensions['code']).toBe('INTERNAL');
  });

  it('does not log that a caller went away', () => {
    const logger = createRecordingLogger();
    toWireError(new GraphQLError('x', { originalError: new StopReason('caller_gone') }), scopeOf(logger));
    expect(logger.records).toEqual([]);
  });
});
