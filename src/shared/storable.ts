/** PostgreSQL stores neither NUL nor half a character (a surrogate alone): such text would not come back as it went in. */
export function isStorable(text: string): boolean {
  return !text.includes('\0') && text.isWellFormed();
}
