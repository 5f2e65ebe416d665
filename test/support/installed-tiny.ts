import type { InstalledModelView } from '../../src/domains/downloads/types.ts';

/** `tiny.gguf` in a folder, as the store of downloaded models tells of it; the same id in every process. */
export function installedTiny(folder: string, change: Partial<InstalledModelView> = {}): InstalledModelView {
  const files = [{ path: 'tiny.gguf', sizeBytes: 743_168, sha256: null, gitSha1: null }];
  return {
    id: '0190a000-0000-7000-8000-00000000f16f', modelId: 'huggingface:acme/Tiny-Story-GGUF', revision: 'a'.repeat(40), variant: 'F16', format: 'gguf', quantization: 'F16',
    sizeBytes: 743_168, folder, files, verification: 'verified', installedAt: new Date(0), lastUsedAt: null, ...change,
  };
}
