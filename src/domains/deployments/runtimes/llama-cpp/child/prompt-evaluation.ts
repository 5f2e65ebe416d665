import type { LlamaContextSequence, Token } from 'node-llama-cpp';
import { performance } from 'node:perf_hooks';

/** An abort is noticed between two parts, so a part should take no longer than this. */
const partTargetMs = 120;
const partSize = { min: 16, first: 64, max: 512 } as const;

/**
 * Brings the sequence to the state after all but the last of `tokens`, in parts, because the library cannot be
 * stopped within one evaluation: a long prompt of a client that has gone would hold the sequence for seconds.
 * Answers how many tokens were known already.
 */
export async function evaluatePrompt(sequence: LlamaContextSequence, tokens: readonly Token[], signal: AbortSignal): Promise<number> {
  const end = tokens.length - 1;
  await sequence.adaptStateToTokens(tokens.slice(0, end), false);
  const cached = sequence.nextTokenIndex;
  let size: number = partSize.first;
  for (let at = cached; at < end; ) {
    signal.throwIfAborted();
    const part = tokens.slice(at, Math.min(at + size, end));
    const startedAt = performance.now();
    await sequence.evaluateWithoutGeneratingNewTokens(part);
    const elapsedMs = Math.max(performance.now() - startedAt, 1);
    at += part.length;
    size = Math.round(Math.min(Math.max((part.length * partTargetMs) / elapsedMs, partSize.min), partSize.max));
  }
  signal.throwIfAborted();
  return cached;
}
