/** Of what is there without plug-ins. `local` names what was imported. */
export const builtInIds = {
  sources: ['huggingface', 'ollama', 'local'],
  runtimes: ['llama-cpp', 'ollama', 'docker', 'remote'],
  scanners: ['format', 'gguf', 'safetensors', 'pickle', 'archive', 'template', 'source', 'clamav'],
  alertChannels: ['log', 'webhook'],
} as const;

/** Throws when two have one id: the later would stand for both. */
export function byId<T extends { readonly id: string }>(list: readonly T[]): ReadonlyMap<string, T> {
  const found = new Map(list.map((part) => [part.id, part]));
  if (found.size !== list.length) throw new Error(`two of ${list.map(({ id }) => id).join(', ')} have one id`);
  return found;
}
