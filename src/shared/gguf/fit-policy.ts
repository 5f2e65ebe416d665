/** When a model fits a machine: one set of rules for what the catalogue says and for what a start is held to. */
export type FitVerdict = 'fits' | 'tight' | 'does_not_fit';

/** Left to the system and to this service. */
const reserveBytes = 512 * 1024 * 1024;
/** Above this share of what is free the verdict is `tight`. */
const tightShare = 0.9;
/** What the embedded engine takes when nothing is set, as far as the model was trained for it. */
const contextSizeDefault = 4096;
/** Answers at once where nothing is set: a chat and one more, because each costs a context of its own. */
export const defaultParallel = 2;

/** Tokens of context where nothing is set; `trainedFor` null = not known. */
export function defaultContextSize(trainedFor: number | null): number {
  return Math.min(trainedFor ?? contextSizeDefault, contextSizeDefault);
}

/** What a model may take of the memory that is free. */
export function usableBytes(freeBytes: number, gpuFreeBytes: number, promisedBytes = 0): number {
  return Math.max(0, freeBytes - reserveBytes + gpuFreeBytes - promisedBytes);
}

export function verdictOf(neededBytes: number, availableBytes: number): FitVerdict {
  if (neededBytes <= availableBytes * tightShare) return 'fits';
  return neededBytes <= availableBytes ? 'tight' : 'does_not_fit';
}

/** The beginning of the sentence that tells a person why. */
export function amountsText(neededBytes: number, availableBytes: number): string {
  return `It needs about ${gibibytes(neededBytes)} of the ${gibibytes(availableBytes)} that are free`;
}

function gibibytes(bytes: number): string {
  return `${(bytes / 1024 ** 3).toFixed(2)} GiB`;
}
