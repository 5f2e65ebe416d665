/** Characters that RFC 5987 allows unencoded, beyond what encodeURIComponent leaves. */
const encodeMore = /['()*]/g;

/**
 * A file's name in a header, as RFC 6266 says: plain ASCII for every client, and the real name in RFC 5987's
 * encoding for those that read it. What could break out of the header or name a path becomes `_`.
 */
export function contentDisposition(fileName: string): string {
  const safe = fileName.toWellFormed().replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}/\\]/gu, '_').slice(0, 200) || 'file';
  const plain = safe.replaceAll(/[^\x20-\x7e]|["%]/g, '_');
  const encoded = encodeURIComponent(safe.toWellFormed()).replaceAll(encodeMore, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}
