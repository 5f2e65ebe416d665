import { amountsText, defaultContextSize, defaultParallel, usableBytes, verdictOf } from '../../shared/gguf/fit-policy.ts';
import { estimateMemory, maxContextThatFits, type ModelFigures } from '../../shared/gguf/memory.ts';
import { preferenceRank } from './quantization.ts';
import type { FitEstimate, FitVerdict, ModelVariant } from './types.ts';
import type { VariantFiles } from './variants.ts';

export type MachineMemory = { availableBytes: number; gpuFreeBytes: number | null };

/** An engine without a model, and its buffers, while the header's figures are not known. */
const overheadBytesDefault = 256 * 1024 * 1024;

export type FitInput = {
  variant: Pick<ModelVariant, 'sizeBytes'>;
  /** Null when it could not be read (yet): then only the weights are counted. */
  header: ModelFigures | null;
  /** What the weights take once they are loaded, as a share of their files; 1 where it is left out. */
  loadedShare?: number | undefined;
  contextLength: number | null;
  memory: MachineMemory;
};

export function estimateFit({ variant, header, contextLength, memory, loadedShare = 1 }: FitInput): FitEstimate {
  const availableBytes = usableBytes(memory.availableBytes, memory.gpuFreeBytes ?? 0);
  const contextSize = defaultContextSize(header?.contextLength ?? contextLength);
  if (!header) return withoutHeader(variant.sizeBytes, contextSize, availableBytes);
  // The header is of one variant; its tensors' size would be that one's for all.
  const request = { header: { ...header, tensorBytes: 0 }, fileBytes: Math.ceil(variant.sizeBytes * loadedShare), parallel: defaultParallel };
  const { weightsBytes, kvCacheBytes, overheadBytes, totalBytes } = estimateMemory({ ...request, contextSize });
  const longest = maxContextThatFits({ ...request, availableBytes });
  const maxContextSize = longest > 0 ? longest : null;
  const verdict = verdictOf(totalBytes, availableBytes);
  const reason = reasonFor(verdict, { neededBytes: totalBytes, availableBytes, maxContextSize });
  return { verdict, contextSize, weightsBytes, kvCacheBytes, overheadBytes, neededBytes: totalBytes, availableBytes, maxContextSize, reason };
}

function withoutHeader(weightsBytes: number, contextSize: number, availableBytes: number): FitEstimate {
  const neededBytes = weightsBytes + overheadBytesDefault;
  const verdict = weightsBytes === 0 ? 'unknown' : verdictOf(neededBytes, availableBytes);
  const reason = verdict === 'unknown' ? 'The size of its weights is not known.' : `${amountsText(neededBytes, availableBytes)}, without the memory of a conversation.`;
  const unknown = { kvCacheBytes: null, maxContextSize: null };
  return { verdict, contextSize, weightsBytes, overheadBytes: overheadBytesDefault, neededBytes, availableBytes, reason, ...unknown };
}

function reasonFor(verdict: FitVerdict, figures: Pick<FitEstimate, 'neededBytes' | 'availableBytes' | 'maxContextSize'>): string {
  const needed = amountsText(figures.neededBytes, figures.availableBytes);
  if (verdict === 'fits') return `${needed}.`;
  if (verdict === 'tight') return `${needed}: little is left for anything else.`;
  return figures.maxContextSize === null ? `${needed}.` : `${needed}; a context of up to ${figures.maxContextSize} tokens would fit.`;
}

export type Candidate = VariantFiles & { fit: FitEstimate | null };

/** Formats that some runtime of ours can load and that hold no code. */
const loadable: readonly Candidate['format'][] = ['gguf', 'safetensors', 'mlx'];

/**
 * The variant to take when nobody chooses: of the GGUF ones the best by general practice that fits, else one that
 * just fits, else the smallest; whole repositories only where there is no GGUF.
 */
export function recommendedOf<T extends Candidate>(candidates: readonly T[]): T | null {
  const format = loadable.find((wanted) => candidates.some((candidate) => candidate.format === wanted));
  const usable = candidates.filter((candidate) => candidate.format === format);
  const byRank = usable.toSorted((a, b) => preferenceRank(a.quantization) - preferenceRank(b.quantization) || a.sizeBytes - b.sizeBytes);
  for (const verdict of ['fits', 'tight'] as const) {
    const best = byRank.find(({ fit }) => fit?.verdict === verdict);
    if (best) return best;
  }
  return usable.toSorted((a, b) => a.sizeBytes - b.sizeBytes)[0] ?? null;
}
