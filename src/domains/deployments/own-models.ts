import { modelIdOf, parseOwnModelRef } from '../catalog/model-ref.ts';
import type { DeploymentRow } from './deployment.repository.ts';
import type { ModelRuntime, OwnModel } from './runtime.ts';
import { askRuntime } from './runtime-answers.ts';
import type { OwnModelView } from './types.ts';

/** A row whose model is its runtime's own: it runs by a name, and no file of ours belongs to it. */
export function isOwnModelRow(row: Pick<DeploymentRow, 'installedModelId' | 'modelId'>, runtime: ModelRuntime | undefined): boolean {
  return runtime?.ownModels !== undefined && (row.installedModelId ?? null) === null && (row.modelId ?? null) !== null;
}

/** The name that the runtime's server knows the model by; null where it is another source's. */
export function ownNameOf(modelId: string, runtime: ModelRuntime): string | null {
  const { source, name, revision } = parseOwnModelRef(modelId);
  return source === runtime.ownModels?.source ? `${name}${revision === null ? '' : `:${revision}`}` : null;
}

/** Null where the server does not have it; throws RUNTIME_UNAVAILABLE where that cannot be told. */
export async function findOwnModel(modelId: string, runtime: ModelRuntime, signal: AbortSignal): Promise<OwnModel | null> {
  const name = ownNameOf(modelId, runtime);
  const { ownModels } = runtime;
  if (!ownModels || name === null) return null;
  return await askRuntime(runtime, (limited) => ownModels.find(name, limited), signal);
}

/** Those whose names are such as Ollama gives. Empty where the server does not answer. */
export async function listOwnModels(runtime: ModelRuntime, signal: AbortSignal): Promise<readonly OwnModelView[]> {
  const { ownModels } = runtime;
  if (!ownModels) return [];
  const models = await askRuntime(runtime, (limited) => ownModels.list(limited), signal).catch((): readonly OwnModel[] => {
    signal.throwIfAborted();
    return [];
  });
  return models.flatMap((model) => {
    try {
      return [{ modelId: modelIdOf(parseOwnModelRef(`${ownModels.source}:${model.name}`)), sizeBytes: model.sizeBytes, quantization: model.quantization }];
    } catch {
      return [];
    }
  });
}
