import * as z from 'zod';
import { AppError, validationFailed, type FieldFault } from '../../shared/errors.ts';
import { pageLimits } from '../../shared/paging.ts';
import { wordsOf } from '../http/issue-words.ts';

/** A search over several sources carries each one's own cursor. */
const cursorLengthMax = 4096;

/** Query parameters are text: these read it strictly, where `z.coerce` would take `''` for 0. */
export const queryInteger = (min: number, max: number): z.ZodType<number> =>
  z
    .string()
    .regex(/^-?\d{1,15}$/, 'must be a whole number')
    .transform(Number)
    .pipe(z.number().int().min(min).max(max));

export const queryBoolean = z.enum(['true', 'false']).transform((text) => text === 'true').pipe(z.boolean());
export const queryTime = z.iso.datetime({ offset: true, message: 'must be an ISO 8601 time' }).transform((text) => new Date(text).toISOString()).pipe(z.iso.datetime());

export const pageQuery = {
  limit: queryInteger(pageLimits.min, pageLimits.max).optional().describe('How many items, 1 to 100; default 20.'),
  cursor: z.string().min(1).max(cursorLengthMax).optional().describe('`next_cursor` of the page before.'),
};

function faultsOf(error: z.ZodError): FieldFault[] {
  return error.issues.flatMap((issue) => {
    const path = issue.path.map(String).join('.');
    if (issue.code !== 'unrecognized_keys') return [{ field: path === '' ? 'body' : path, message: wordsOf(issue) }];
    return issue.keys.map((key) => ({ field: path === '' ? key : `${path}.${key}`, message: 'unknown field' }));
  });
}

/** Deeper than any place where names are the caller's own; what is nested deeper is checked where it is used. */
const ownNamesDepthMax = 5;

/** Where names are the caller's own, the library drops this one without a word. */
function findProto(value: unknown, path: readonly string[]): readonly string[] | undefined {
  if (typeof value !== 'object' || value === null || path.length >= ownNamesDepthMax) return undefined;
  if (path.length > 0 && Object.hasOwn(value, '__proto__')) return [...path, '__proto__'];
  for (const [name, part] of Object.entries(value)) {
    const found = findProto(part, [...path, name]);
    if (found) return found;
  }
  return undefined;
}

/** Throws VALIDATION_FAILED that names every field at fault. */
export function parseInput<T>(schema: z.ZodType<T>, value: unknown): T {
  const proto = findProto(value, []);
  if (proto) throw validationFailed([{ field: proto.join('.'), message: 'cannot be the name of a field' }]);
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw validationFailed(faultsOf(result.error));
}

/** A parameter that is given twice has no single meaning, so it is refused. */
export function queryObject(url: URL): Record<string, string> {
  const entries = [...url.searchParams];
  const seen = new Set<string>();
  for (const [name] of entries) {
    if (seen.has(name)) throw validationFailed([{ field: name, message: 'given more than once' }]);
    seen.add(name);
  }
  // Null prototype: a parameter may be called `__proto__`.
  return Object.setPrototypeOf(Object.fromEntries(entries), null) as Record<string, string>;
}

export function decodePathParameter(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new AppError('VALIDATION_FAILED', 'The path is not valid percent-encoded UTF-8.', { details: { fields: [{ field: 'path', message: 'not valid percent-encoding' }] }, cause });
  }
}
