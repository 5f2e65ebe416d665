import type * as z from 'zod';
import { validationFailed } from '../../../shared/errors.ts';

/** Throws VALIDATION_FAILED that names the first place where the file is not what its format says. */
export function parseFile<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw validationFailed([{ field: 'content', message: `is no export that can be read: ${issue?.path.join('.') ?? ''}: ${issue?.message ?? ''}` }]);
}
