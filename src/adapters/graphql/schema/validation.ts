import { z } from 'zod';
import { isStorable } from '../../../shared/storable.ts';

/** Longest texts that are taken; far above what anybody types, far below what would hurt. */
export const textMax = { query: 500, name: 200, pattern: 500, message: 1_000_000, systemPrompt: 200_000, idempotencyKey: 200 } as const;

/** Lists of short texts that a caller sends, such as patterns or stop words. */
export const listMax = 100;

/** Controls other than tab and line breaks never belong into a name. */
const controls = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/;

const unstorable = 'must not contain NUL or broken characters';

export function trimmedText(max: number) {
  return z.string().max(max, `must not be longer than ${max} characters`).refine(isStorable, unstorable).nullish();
}

export function nameText(max: number) {
  return z
    .string()
    .max(max, `must not be longer than ${max} characters`)
    .refine((text) => text.trim() !== '', 'must not be empty')
    .refine((text) => !controls.test(text), 'must not contain control characters')
    .refine(isStorable, unstorable)
    .nullish();
}

export function messageText(max: number) {
  return z
    .string()
    .max(max, `must not be longer than ${max} characters`)
    .refine((text) => text.trim() !== '', 'must not be empty')
    .refine(isStorable, unstorable)
    .nullish();
}

export function textList(max: number) {
  return z.array(z.string().max(max, `must not hold a text longer than ${max} characters`).refine(isStorable, unstorable)).max(listMax, `must not hold more than ${listMax} items`).nullish();
}

export function wholeNumber(min: number, max: number) {
  return z.number().min(min, `must be a whole number from ${min} to ${max}`).max(max, `must be a whole number from ${min} to ${max}`).nullish();
}

export function numberFrom(min: number, max: number) {
  return z.number().min(min, `must be a number from ${min} to ${max}`).max(max, `must be a number from ${min} to ${max}`).nullish();
}
