import type * as z from 'zod';

/** Zod's own words speak of what it received; a person wants to hear what is missing. */
export function wordsOf({ code, message }: z.core.$ZodIssue): string {
  return code === 'invalid_type' && message.endsWith('received undefined') ? 'is required' : message;
}
