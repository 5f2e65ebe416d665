import { z } from 'zod';
import { validationFailed } from '../../shared/errors.ts';
import { roles } from '../../shared/principal.ts';
import type { CreateApiKey } from './types.ts';

// Line breaks and other controls in a name would forge lines in logs and terminals.
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

const label = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(100, 'must not be longer than 100 characters')
  .refine((text) => !controls.test(text) && text.isWellFormed(), 'must not contain control characters');

const scope = z.string().regex(/^[a-z][a-z0-9_.:*-]{0,63}$/, 'must look like "download:start"');

const createKeySchema = z.strictObject({
  name: label,
  owner: label,
  role: z.enum(roles),
  scopes: z.array(scope).max(50, 'must not be more than 50').optional(),
  expiresAt: z.date().optional(),
});

export type ParsedCreateKey = z.infer<typeof createKeySchema>;

/** Throws VALIDATION_FAILED naming every refused field. */
export function parseCreateKey(input: CreateApiKey, now: Date): ParsedCreateKey {
  const parsed = createKeySchema.safeParse(input);
  if (!parsed.success) throw validationFailed(parsed.error.issues.map((issue) => ({ field: fieldOf(issue), message: issue.message })));
  const { expiresAt } = parsed.data;
  if (expiresAt && expiresAt.getTime() <= now.getTime()) throw validationFailed([{ field: 'expires_at', message: 'must be in the future' }]);
  return parsed.data;
}

function fieldOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return issue.keys[0] ?? '';
  return issue.path.map((part) => (part === 'expiresAt' ? 'expires_at' : String(part))).join('.');
}
