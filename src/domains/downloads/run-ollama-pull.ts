import { parseModelRef } from '../catalog/model-ref.ts';
import { AppError } from '../../shared/errors.ts';
import type { FileRow, TaskRow } from './download.repository.ts';
import type { LiveTask } from './live-task.ts';
import type { OllamaStore, PullEvent } from './ollama-store.ts';
import type { Phase } from './phase-tracker.ts';

export type OllamaPull = { task: TaskRow; files: readonly FileRow[]; live: LiveTask; onPhase: (phase: Phase) => void };

/** Throws UNSUPPORTED_MODEL. */
export function ollamaNameOf(store: OllamaStore, { modelId, quantization }: Pick<TaskRow, 'modelId'> & { quantization?: string | null | undefined }): string {
  const name = store.nameOf({ ref: parseModelRef(modelId), quantization: quantization ?? null });
  if (name === null) throw new AppError('UNSUPPORTED_MODEL', 'An Ollama server cannot pull this model by itself; use the target "local".');
  return name;
}

/** Lets the server fetch a model into its own store, and follows how far it is. */
export async function runOllamaPull({ task, files, live, onPhase }: OllamaPull, store: OllamaStore, signal: AbortSignal): Promise<void> {
  const byDigest = new Map<string, FileRow>(files.flatMap((file) => (typeof file.sha256 === 'string' ? [[`sha256:${file.sha256}`, file]] : [])));
  const seen = new Map<string, number>();
  const onLayer = (digest: string, completedBytes: number): void => {
    const file = byDigest.get(digest);
    if (!file) return;
    const before = seen.get(digest);
    const bytes = Math.min(file.sizeBytes, completedBytes);
    seen.set(digest, bytes);
    // What the first frame tells was there before.
    const fetched = before === undefined ? 0 : Math.max(0, bytes - before);
    live.progress(file.path, bytes, fetched);
    if (fetched > 0) onPhase('running');
  };
  const onEvent = (event: PullEvent): void => {
    if (event.type === 'layer') {
      onLayer(event.layer.digest, event.layer.completedBytes);
      return;
    }
    // Small layers come without a word, and the last word of a large one is not its last byte.
    for (const file of files) {
      live.progress(file.path, file.sizeBytes, 0);
      live.verifying(file.path);
    }
    onPhase('verifying');
  };
  await store.pull(ollamaNameOf(store, task), onEvent, signal);
  for (const file of files) live.complete(file.path, file.sha256 ?? null);
}
