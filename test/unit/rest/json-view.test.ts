import { describe, expect, it } from '@jest/globals';
import { camelCase, snakeCase, toCamelCase } from '../../../src/shared/json-case.ts';
import { chatView, deploymentView, toEnum, toList, toRestJson } from '../../../src/shared/json-view.ts';

describe('names', () => {
  it.each([
    ['taskId', 'task_id'],
    ['speedBytesPerSecond', 'speed_bytes_per_second'],
    ['sha256', 'sha256'],
    ['topP', 'top_p'],
    ['timeToFirstTokenMs', 'time_to_first_token_ms'],
  ])('%s is %s and back', (camel, snake) => {
    expect(snakeCase(camel)).toBe(snake);
    expect(camelCase(snake)).toBe(camel);
  });

  it('of the user stay as they are in what comes in', () => {
    const body = { extra_args: ['a_b'], environment: { OMP_NUM_THREADS: '2', my_var: 'x_y' }, response_format: { type: 'json_schema' as const, json_schema: { max_length: 1 } } };
    expect(toCamelCase(body)).toEqual({ extraArgs: ['a_b'], environment: body.environment, responseFormat: { type: 'json_schema', jsonSchema: { max_length: 1 } } });
  });
});

describe('an answer', () => {
  it('has snake_case names and lower-case enum values, and loses type names', () => {
    const task = { __typename: 'DownloadTask', taskId: 'x', status: 'RUNNING', override: ['UNSAFE_FORMAT'], files: [{ __typename: 'F', sizeBytes: 1, status: 'PENDING' }], error: { code: 'NETWORK_FAILED', message: 'No.' } };
    expect(toRestJson(task)).toEqual({
      task_id: 'x',
      status: 'running',
      override: ['unsafe_format'],
      files: [{ size_bytes: 1, status: 'pending' }],
      error: { code: 'NETWORK_FAILED', message: 'No.' },
    });
  });

  it("keeps text, environment and schemas that are the user's own", () => {
    const message = { content: 'STATUS: OK', parameters: { topK: null, stop: ['END'], responseFormat: { type: 'JSON_SCHEMA', jsonSchema: { type: 'OBJECT', maxLength: null } } } };
    expect(chatView(message)).toEqual({ content: 'STATUS: OK', parameters: { stop: ['END'], response_format: { type: 'json_schema', json_schema: { type: 'OBJECT', maxLength: null } } } });
    const deployment = { config: { port: null, environment: { PATH_LIKE: 'A', status: 'UP' }, restart: { policy: 'ON_FAILURE', maxRetries: null } } };
    expect(deploymentView(deployment)).toEqual({ config: { environment: { PATH_LIKE: 'A', status: 'UP' }, restart: { policy: 'on_failure' } } });
  });

  it('is a list with the cursor only where more follows', () => {
    const items = [{ taskId: 'a' }];
    expect(toList({ items, pageInfo: { hasNextPage: true, endCursor: 'c' }, total: 7 })).toEqual({ items: [{ task_id: 'a' }], next_cursor: 'c', total: 7 });
    expect(toList({ items, pageInfo: { hasNextPage: false, endCursor: 'c' }, total: null })).toEqual({ items: [{ task_id: 'a' }], next_cursor: null, total: null });
  });

  it('turns enum values round', () => {
    expect(toEnum('on_failure')).toBe('ON_FAILURE');
  });
});
