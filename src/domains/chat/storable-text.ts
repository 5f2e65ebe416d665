import { z } from 'zod';

/** PostgreSQL stores no NUL, and UTF-8 has no lone surrogates: such text would not come back as it went in. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}

export function storableText(lengthMax: number) {
  return z
    .string()
    .max(lengthMax, `must not be longer than ${lengthMax} characters`)
    .refine(isStorable, 'must not contain NUL or broken characters');
}

/** The nearest text that can be stored. */
export function toStorable(text: string): string {
  return text.replaceAll('\0', '\ufffd').toWellFormed();
}
