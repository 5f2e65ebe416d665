import { z } from 'zod';
import { validationFailed } from '../../shared/errors.ts';
import { snakeCase } from '../../shared/json-case.ts';
import { roles, scopes } from '../../shared/principal.ts';
import type { CreateApiKey, NarrowKey } from './types.ts';

// Line breaks and other controls in a name would forge lines in logs and terminals.
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

const label = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(100, 'must not be longer than 100 characters')
  .refine((text) => !controls.test(text) && text.isWellFormed(), 'must not contain control characters');

export const limitRanges = { requestsPerMinute: { min: 1, max: 1_000_000 }, tokensPerDay: { min: 1, max: 2_147_483_647 } } as const;

function wholeNumber({ min, max }: { min: number; max: number }) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.number({ error: message }).int(message).min(min, message).max(max, message).nullish();
}

const scopeList = z.array(z.enum(scopes, { error: `must be one of ${scopes.join(', ')}` })).transform((given) => [...new Set(given)]);

const narrowing = {
  scopes: z.array(z.string()).max(scopes.length, `must not be more than ${scopes.length}`).pipe(scopeList).optional(),
  limits: z.strictObject({ requestsPerMinute: wholeNumber(limitRanges.requestsPerMinute), tokensPerDay: wholeNumber(limitRanges.tokensPerDay) }).optional(),
  allowedDeployments: z.array(z.string().min(1, 'must not be empty').max(200, 'must not be longer than 200 characters')).min(1, 'must name at least one').max(100, 'must not be more than 100').optional(),
};
const narrowKeySchema = z.strictObject(narrowing);
const createKeySchema = z.strictObject({ name: label, owner: label, role: z.enum(roles), expiresAt: z.date().optional(), ...narrowing });

export type ParsedNarrowing = z.infer<typeof narrowKeySchema>;
export type ParsedCreateKey = z.infer<typeof createKeySchema>;

/** Throws VALIDATION_FAILED naming every refused field. */
export function parseCreateKey(input: CreateApiKey, now: Date): ParsedCreateKey {
  const parsed = parse(createKeySchema, input);
  if (parsed.expiresAt && parsed.expiresAt.getTime() <= now.getTime()) throw validationFailed([{ field: 'expires_at', message: 'must be in the future' }]);
  return parsed;
}

export function parseNarrowing(input: NarrowKey): ParsedNarrowing {
  return parse(narrowKeySchema, input);
}

function parse<T>(schema: z.ZodType<T>, input: unknown): T {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw validationFailed(parsed.error.issues.map((issue) => ({ field: fieldOf(issue), message: issue.message })));
}

function fieldOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'unrecognized_keys') return issue.keys[0] ?? '';
  return issue.path.map((part) => snakeCase(String(part))).join('.');
}
