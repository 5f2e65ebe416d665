import { estimateFit, recommendedOf } from './fit.ts';
import type { FitInput, MachineMemory } from './fit.ts';
import type { ModelHeaders } from './header-reader.ts';
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
export function toDetail(model: SourceModel, { gguf, safetensors }: ModelHeaders, memory: MachineMemory): ModelDetail {
  const { summary, revision, readmeMarkdown, files, securityStatus } = model;
  const contextLength = summary.contextLength ?? gguf?.contextLength ?? safetensors?.contextLength ?? null;
  const candidates = variantFilesOf(model).map((variant) => ({ ...variant, fit: estimateFit({ variant, contextLength, memory, ...figuresOf(variant, { gguf, safetensors }) }) }));
  const recommended = recommendedOf(candidates);
  const variants: ModelVariant[] = candidates.map((candidate) => ({ ...candidate, recommended: candidate === recommended }));
  // A part of a split model counts its own weights only.
  const counted = gguf?.splitCount === 1 ? gguf.parameterCount : null;
  return {
    ...summary,
    parameters: summary.parameters ?? counted,
    contextLength,
    revision,
    readmeMarkdown,
    readmeText: readmeMarkdown === null ? null : markdownToText(readmeMarkdown),
    architecture: model.architecture ?? gguf?.architecture ?? safetensors?.architecture ?? null,
    files,
    variants,
    securityStatus,
  };
}

function figuresOf({ format }: VariantFiles, { gguf, safetensors }: ModelHeaders): Pick<FitInput, 'header' | 'loadedShare'> {
  if (format === 'safetensors') return { header: safetensors, loadedShare: safetensors?.loadedShare };
  return { header: format === 'gguf' ? gguf : null };
}
