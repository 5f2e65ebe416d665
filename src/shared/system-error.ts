/**
 * The code of an error of the operating system (`ENOENT`, `EADDRINUSE`), undefined for anything else. Told by its
 * shape: an error that was made in another realm is no instance of this one's Error.
 */
export function systemErrorCode(error: unknown): string | undefined {
  return typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}
