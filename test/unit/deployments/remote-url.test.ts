import { expect, it } from '@jest/globals';
import { normaliseBaseUrl } from '../../../src/domains/deployments/runtimes/remote/remote.runtime.ts';

it.each([
  ['http://127.0.0.1:8000', 'http://127.0.0.1:8000'],
  ['http://127.0.0.1:8000/', 'http://127.0.0.1:8000'],
  ['http://127.0.0.1:8000/v1', 'http://127.0.0.1:8000'],
  ['https://api.example.org/openai/v1/', 'https://api.example.org/openai'],
  ['https://api.example.org/v1beta', 'https://api.example.org/v1beta'],
])('takes %s for the server at %s', (given, server) => {
  expect(normaliseBaseUrl(given)).toBe(server);
});
