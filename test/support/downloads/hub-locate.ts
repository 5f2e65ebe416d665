import type { FileLocation, FileRequest } from '../../../src/domains/catalog/source.ts';
import { AppError } from '../../../src/shared/errors.ts';

/** Where the Hub double says that a file is, asked as a source does it: redirects are read, never followed. */
export async function locateOnHub(endpoint: string, file: Pick<FileRequest, 'ref' | 'revision' | 'path'>, signal: AbortSignal): Promise<FileLocation> {
  const base: FileLocation = { url: '', headers: {}, etag: null, sizeBytes: null, revision: null, expiresAtMs: null, allowPrivate: true };
  let response: Response;
  try {
    response = await fetch(`${endpoint}/${file.ref.name}/resolve/${file.revision}/${file.path}`, { method: 'HEAD', redirect: 'manual', signal });
  } catch (cause) {
    signal.throwIfAborted();
    throw new AppError('SOURCE_UNAVAILABLE', 'The Hub could not be reached.', { cause });
  }
  if (response.status === 404) throw new AppError('FILE_NOT_FOUND', 'no such file');
  if (response.status === 401 || response.status === 403) throw new AppError('MODEL_GATED', 'gated');
  if (response.status < 300 || response.status >= 400) throw new AppError('SOURCE_UNAVAILABLE', `HTTP ${response.status}`);
  const header = (name: string): string | null => response.headers.get(name);
  const target = new URL(header('location') ?? '', endpoint);
  const expires = target.searchParams.get('Expires');
  return {
    ...base,
    url: target.href,
    etag: header('x-linked-etag')?.replaceAll('"', '') ?? null,
    sizeBytes: Number(header('x-linked-size')),
    revision: header('x-repo-commit'),
    expiresAtMs: expires === null ? null : Number(expires) * 1000,
  };
}
