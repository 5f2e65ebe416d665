import type { GgufHeader } from './header.ts';

/** What of a model decides the memory that it takes; a GGUF's header has all of it. */
export type ModelFigures = Pick<GgufHeader, 'tensorBytes' | 'contextLength' | 'embeddingLength' | 'headCount' | 'headCountKvTotal' | 'keyLength' | 'valueLength' | 'vocabularySize'> & {
  /** Of the server without a model, where that is not llama.cpp's. */
  processBytes?: number;
};

export type MemoryRequest = {
  header: ModelFigures;
  /** Of all files of the model. */
  fileBytes: number;
  /** Tokens of each sequence. */
  contextSize: number;
  /** Sequences; each has a context of its own. */
  parallel: number;
};

export type MemoryEstimate = {
  weightsBytes: number;
  kvCacheBytes: number;
  /** The process itself and the buffers of a computation. */
  overheadBytes: number;
  totalBytes: number;
};

/** Resident size of the engine's process with a model of no size, measured on Linux: 115 to 160 MB. */
const llamaCppBytes = 160_000_000;
const cacheElementBytes = 2;
const floatBytes = 4;
/** Tokens that are computed at once at most. */
const batchTokensMax = 512;
/** Contexts are made in steps of this many tokens. */
const contextStep = 256;

/** What running a model will take, before anything of it is loaded. Errs on the side of too much. */
export function estimateMemory({ header, fileBytes, contextSize, parallel }: MemoryRequest): MemoryEstimate {
  const weightsBytes = Math.max(header.tensorBytes, fileBytes);
  const tokens = roundUp(contextSize) * parallel;
  const kvCacheBytes = tokens * cacheBytesPerToken(header);
  const overheadBytes = (header.processBytes ?? llamaCppBytes) + computeBytes(header, tokens);
  return { weightsBytes, kvCacheBytes, overheadBytes, totalBytes: weightsBytes + kvCacheBytes + overheadBytes };
}

export type ContextRequest = Omit<MemoryRequest, 'contextSize'> & { availableBytes: number };

/** The longest context per sequence for which the memory is enough, at most what the model was trained for; 0 = none. */
export function maxContextThatFits({ availableBytes, ...request }: ContextRequest): number {
  const longest = request.header.contextLength ?? contextStep;
  const fits = (contextSize: number): boolean => estimateMemory({ ...request, contextSize }).totalBytes <= availableBytes;
  if (fits(longest)) return longest;
  let [enough, tooMany] = [0, Math.ceil(longest / contextStep)];
  while (tooMany - enough > 1) {
    const middle = Math.floor((enough + tooMany) / 2);
    if (fits(middle * contextStep)) enough = middle;
    else tooMany = middle;
  }
  return enough * contextStep;
}

function roundUp(contextSize: number): number {
  return Math.ceil(contextSize / contextStep) * contextStep;
}

function cacheBytesPerToken({ headCountKvTotal, headCount, embeddingLength, keyLength, valueLength }: ModelFigures): number {
  const headLength = headCount === null || headCount === 0 || embeddingLength === null ? 0 : embeddingLength / headCount;
  return (headCountKvTotal ?? 0) * ((keyLength ?? headLength) + (valueLength ?? headLength)) * cacheElementBytes;
}

/** The largest buffers of one computation: scores of every vocabulary entry, and a few rows as wide as the model. */
function computeBytes({ vocabularySize, embeddingLength }: ModelFigures, tokens: number): number {
  const rows = Math.min(batchTokensMax, tokens);
  return rows * ((vocabularySize ?? 0) + 8 * (embeddingLength ?? 0)) * floatBytes;
}
