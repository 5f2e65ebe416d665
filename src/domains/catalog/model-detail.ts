import type { GgufHeader } from '../../shared/gguf/header.ts';
import { estimateFit, recommendedOf } from './fit.ts';
import type { MachineMemory } from './fit.ts';
import { markdownToText } from './model-card.ts';
import type { SourceModel } from './source.ts';
import type { ModelDetail, ModelVariant } from './types.ts';
import { variantsOf } from './variants.ts';
import type { VariantFiles } from './variants.ts';

/** Its variants' names and files, without what depends on this machine. */
export function variantFilesOf(model: SourceModel): readonly VariantFiles[] {
  return model.variants ?? variantsOf(model.files);
}

/** Puts what the source told, what a header told and what this machine has together. */
export function toDetail(model: SourceModel, header: GgufHeader | null, memory: MachineMemory): ModelDetail {
  const { summary, revision, readmeMarkdown, files, securityStatus } = model;
  const contextLength = summary.contextLength ?? header?.contextLength ?? null;
  const candidates = variantFilesOf(model).map((variant) => {
    const own = variant.format === 'gguf' ? header : null;
    return { ...variant, fit: estimateFit({ variant, header: own, contextLength, memory }) };
  });
  const recommended = recommendedOf(candidates);
  const variants: ModelVariant[] = candidates.map((candidate) => ({ ...candidate, recommended: candidate === recommended }));
  // A part of a split model counts its own weights only.
  const counted = header?.splitCount === 1 ? header.parameterCount : null;
  return {
    ...summary,
    parameters: summary.parameters ?? counted,
    contextLength,
    revision,
    readmeMarkdown,
    readmeText: readmeMarkdown === null ? null : markdownToText(readmeMarkdown),
    architecture: model.architecture ?? header?.architecture ?? null,
    files,
    variants,
    securityStatus,
  };
}
