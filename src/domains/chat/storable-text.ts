import { z } from 'zod';
import { isStorable } from '../../shared/storable.ts';

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
