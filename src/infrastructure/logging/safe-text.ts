import { stripVTControlCharacters } from 'node:util';

/**
 * What could move the cursor, recolour or reorder text for whoever reads it: C0 but tab and newline, DEL, C1, the
 * bidirectional controls and the Unicode line separators. JSON loggers escape only the first group.
 */
const unsafePattern = /[\u0000-\u0008\u000B-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;

/** The text with nothing in it that a terminal would obey. */
export function toTerminalText(text: string): string {
  return stripVTControlCharacters(text).replaceAll(unsafePattern, '\uFFFD');
}
