import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type TemporaryFolder = { readonly path: string; remove(): Promise<void> };

/** A folder of its own below the system's temporary one; other users may pass through it, as an embedded server must. */
export async function createTemporaryFolder(name = 'data'): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `llmm-test-${name}-`));
  await chmod(path, 0o711);
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}
