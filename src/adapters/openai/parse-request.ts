import type * as z from 'zod';
import { validationFailed, type FieldFault } from '../../shared/errors.ts';
import { wordsOf } from '../http/issue-words.ts';
import { refusedFields } from './request-schemas.ts';

export type ParsedBody<T> = {
  body: T;
  /** Fields that are not passed on, by name. */
  ignored: readonly string[];
};

const ignoredMax = 16;

/** Throws VALIDATION_FAILED that names the first field at fault. */
export function parseBody<Shape extends z.ZodRawShape>(schema: z.ZodObject<Shape>, given: Record<string, unknown>): ParsedBody<z.infer<z.ZodObject<Shape>>> {
  const refused = refusedFields.filter((field) => isSet(given[field]));
  if (refused.length > 0) throw validationFailed(refused.map((field) => ({ field, message: 'is not supported' })));
  if (asksForMoreThanText(given['modalities'])) throw validationFailed([{ field: 'modalities', message: 'only text is supported' }]);
  const parsed = schema.safeParse(given);
  if (!parsed.success) throw validationFailed(parsed.error.issues.map(toFault));
  const names = Object.keys(given).filter((field) => !Object.hasOwn(schema.shape, field));
  // Clients send null for what they do not use; an engine need not know that.
  const used = Object.entries(parsed.data).filter(([, value]) => value !== null && value !== undefined);
  return { body: Object.fromEntries(used) as z.infer<z.ZodObject<Shape>>, ignored: names.filter((field) => /^[\w.-]{1,64}$/.test(field)).slice(0, ignoredMax) };
}

function toFault(issue: z.core.$ZodIssue): FieldFault {
  const field = issue.path.map(String).join('.');
  return { field: field === '' ? 'body' : field, message: wordsOf(issue) };
}

/** `null`, `false`, `[]`, `"none"` and the like stand for "not used". */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === false || value === '' || value === 'none' || value === 'auto') return false;
  return typeof value !== 'object' || Object.keys(value).length > 0;
}

function asksForMoreThanText(modalities: unknown): boolean {
  return Array.isArray(modalities) && modalities.some((modality) => modality !== 'text');
}
