import type { Catalog } from '../catalog/catalog.ts';
import { parseModelRef } from '../catalog/model-ref.ts';
import type { ModelSource } from '../catalog/source.ts';
import type { ModelDetail, ModelRef } from '../catalog/types.ts';
import { AppError } from '../../shared/errors.ts';

const planTimeoutMs = 60_000;

export type Sources = ReadonlyMap<string, ModelSource>;

/** The id under which the catalogue knows this revision of the model. */
export function catalogIdOf(modelId: string, requestedRevision: string | null): string {
  const { source } = parseModelRef(modelId);
  // An Ollama tag is a part of the id itself.
  return requestedRevision === null || source === 'ollama' ? modelId : `${modelId}@${requestedRevision}`;
}

export async function lookUpModel(catalog: Catalog, model: { modelId: string; requestedRevision: string | null }, signal: AbortSignal): Promise<ModelDetail> {
  return await catalog.get(catalogIdOf(model.modelId, model.requestedRevision), signal);
}

/** The same for a worker, which has more patience than a caller. Throws TIMEOUT too. */
export async function lookUpInTime(catalog: Catalog, model: { modelId: string; requestedRevision: string | null }, signal: AbortSignal): Promise<ModelDetail> {
  const limit = AbortSignal.timeout(planTimeoutMs);
  try {
    return await lookUpModel(catalog, model, AbortSignal.any([signal, limit]));
  } catch (error) {
    if (signal.aborted || !limit.aborted) throw error;
    throw new AppError('TIMEOUT', 'The source did not answer in time.', { cause: error });
  }
}

export function sourceOf(sources: Sources, ref: ModelRef): ModelSource {
  const source = sources.get(ref.source);
  if (source) return source;
  throw new AppError('MODEL_NOT_FOUND', `There is no source named ${ref.source} here.`);
}
