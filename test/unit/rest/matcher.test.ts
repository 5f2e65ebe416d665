import { describe, expect, it } from '@jest/globals';
import { createMatcher, type Matchable } from '../../../src/adapters/rest/matcher.ts';
import { isAppError } from '../../../src/shared/errors.ts';

const routes: readonly (Matchable & { id: string })[] = [
  { id: 'search', method: 'GET', path: '/models/search' },
  { id: 'info', method: 'GET', path: '/models/{model_id+}/info' },
  { id: 'list', method: 'GET', path: '/downloads/list' },
  { id: 'remove', method: 'DELETE', path: '/downloads/{task_id}' },
  { id: 'pause', method: 'PUT', path: '/downloads/{task_id}/pause' },
];
const match = createMatcher(routes);

function codeOf(work: () => unknown): string | undefined {
  try {
    work();
  } catch (error) {
    return isAppError(error) ? error.code : String(error);
  }
  return undefined;
}

describe('a path with a model id', () => {
  it.each([
    ['/models/huggingface:org/name/info', 'huggingface:org/name'],
    ['/models/huggingface%3Aorg%2Fname/info', 'huggingface:org/name'],
    ['/models/huggingface:org%2Fname@main/info', 'huggingface:org/name@main'],
    ['/models/org/name/info', 'org/name'],
    ['/models/ollama:llama3.2:1b/info', 'ollama:llama3.2:1b'],
    ['/models/ollama%3allama3.2%3A1b/info/', 'ollama:llama3.2:1b'],
    ['/models/org/info/info', 'org/info'],
    ['/models/search/info', 'search'],
  ])('%s names %s', (path, id) => {
    expect(match('GET', path)).toEqual({ route: routes[1], params: { model_id: id } });
  });

  it('is no place for broken percent-encoding', () => {
    expect(codeOf(() => match('GET', '/models/%E0%A4%A/info'))).toBe('VALIDATION_FAILED');
  });
});

describe('the table', () => {
  it('prefers a fixed path to an open one', () => {
    expect(match('GET', '/models/search').route.id).toBe('search');
    expect(match('GET', '/downloads/list').route.id).toBe('list');
  });

  it('takes the name of a fixed path for no id, whatever the method', () => {
    expect(codeOf(() => match('DELETE', '/downloads/list'))).toBe('METHOD_NOT_ALLOWED');
    expect(match('DELETE', '/downloads/lists').params).toEqual({ task_id: 'lists' });
  });

  it('keeps a plain parameter within its segment', () => {
    expect(codeOf(() => match('DELETE', '/downloads/a/b'))).toBe('ROUTE_NOT_FOUND');
    expect(match('DELETE', '/downloads/a%2Fb').params).toEqual({ task_id: 'a/b' });
  });

  it('tells an unknown path from a wrong method, and names the methods that would do', () => {
    expect(codeOf(() => match('GET', '/models'))).toBe('ROUTE_NOT_FOUND');
    expect(codeOf(() => match('GET', ''))).toBe('ROUTE_NOT_FOUND');
    const refused = (): unknown => match('POST', '/downloads/list');
    expect(codeOf(refused)).toBe('METHOD_NOT_ALLOWED');
    expect(refused).toThrow(expect.objectContaining({ details: { allowed: ['GET'] } }));
  });

  it('takes text of a path as text, not as a pattern', () => {
    const dotted = createMatcher([{ id: 'api', method: 'GET' as const, path: '/openapi.json' }]);
    expect(codeOf(() => dotted('GET', '/openapiXjson'))).toBe('ROUTE_NOT_FOUND');
  });
});
