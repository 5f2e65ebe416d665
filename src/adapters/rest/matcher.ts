import { AppError } from '../../shared/errors.ts';
import { decodePathParameter } from './input.ts';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';
export type Matchable = { method: Method; /** `/downloads/{task_id}/pause`; `{model_id+}` spans slashes. */ path: string };
export type Match<R> = { route: R; params: Record<string, string> };

type Compiled<R> = { route: R; pattern: RegExp; names: readonly string[] };

function compile<R extends Matchable>(route: R): Compiled<R> {
  const names: string[] = [];
  const source = route.path.replaceAll(/\{(\w+)(\+?)\}|\./g, (_whole, name: string | undefined, plus: string) => {
    if (name === undefined) return '\\.';
    names.push(name);
    return plus === '' ? '([^/]+)' : '(.+)';
  });
  return { route, pattern: new RegExp(`^${source}/?$`), names };
}

/** Finds the route of a path; the first one in the table that matches wins. What a fixed path is for is no id: an open one is not looked at there. */
export function createMatcher<R extends Matchable>(routes: readonly R[]): (method: string, path: string) => Match<R> {
  const compiled = routes.map(compile);
  return (method, path) => {
    const fitting = compiled.filter(({ pattern }) => pattern.test(path));
    const fixed = fitting.filter(({ names }) => names.length === 0);
    const onPath = fixed.length > 0 ? fixed : fitting;
    if (onPath.length === 0) throw new AppError('ROUTE_NOT_FOUND', 'There is no such route; /api/openapi.json lists them all.');
    const found = onPath.find(({ route }) => route.method === method);
    if (!found) {
      const allowed = [...new Set(onPath.map(({ route }) => route.method))];
      throw new AppError('METHOD_NOT_ALLOWED', `This route takes ${allowed.join(', ')}.`, { details: { allowed } });
    }
    const values = found.pattern.exec(path)?.slice(1) ?? [];
    return { route: found.route, params: Object.fromEntries(found.names.map((name, index) => [name, decodePathParameter(values[index] ?? '')])) };
  };
}
