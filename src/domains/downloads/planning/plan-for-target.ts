import { AppError, type FieldFault } from '../../../shared/errors.ts';
import type { ModelRef } from '../../catalog/types.ts';
import type { DownloadTask } from '../download-task.entity.ts';
import { extensionOf } from './file-formats.ts';
import { type DownloadPlan, planDownload, type PlannedFrom, type Selection } from './plan-download.ts';

export type Target = DownloadTask['target'];

/** What is planned for a target. Throws what `planDownload` throws, and UNSUPPORTED_MODEL for what Ollama cannot pull. */
export function planForTarget(detail: PlannedFrom, selection: Selection, { target, ref }: { target: Target; ref: ModelRef }): DownloadPlan {
  const plan = planDownload(detail, selection);
  if (target === 'local' || ref.source === 'ollama') return plan;
  if (plan.format !== 'gguf') throw new AppError('UNSUPPORTED_MODEL', 'Ollama pulls only GGUF models from there; choose a GGUF variant, or the target "local".');
  // Its own pull takes the weights and the image encoder; cards and configurations stay behind.
  const files = plan.files.filter(({ path }) => extensionOf(path) === 'gguf');
  if (files.some(({ path }) => /-\d{5}-of-\d{5}\.gguf$/i.test(path))) throw new AppError('UNSUPPORTED_MODEL', 'Ollama cannot pull a model that is split into several files; use the target "local".');
  return { ...plan, files, totalBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) };
}

/** What a pull by Ollama cannot honour. */
export function targetFaults({ target, include, exclude, maxBytesPerSecond, revision }: { target: Target; include?: unknown; exclude?: unknown; maxBytesPerSecond?: unknown; revision: string | null }, ref: ModelRef): FieldFault[] {
  if (target === 'local') return [];
  const refuse = (field: string, isGiven: boolean, message: string): FieldFault[] => (isGiven ? [{ field, message }] : []);
  return [
    ...refuse('include', include !== undefined, 'Ollama pulls whole variants; leave it out'),
    ...refuse('exclude', exclude !== undefined, 'Ollama pulls whole variants; leave it out'),
    ...refuse('max_bytes_per_second', maxBytesPerSecond !== undefined, 'Ollama pulls as fast as it can; leave it out'),
    ...refuse('revision', ref.source !== 'ollama' && revision !== null, 'Ollama pulls the newest revision; leave it out'),
  ];
}
