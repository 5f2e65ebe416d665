/** One message of a branch, without its text. */
export type BranchEntry = { id: string; role: 'system' | 'user' | 'assistant'; bytes: number };

/**
 * Bytes of UTF-8 per token, on the careful side: English is near 4, code near 3, and a CJK character (3 bytes) is
 * about one token. The engine counts exactly; this only keeps most requests from being refused.
 */
const bytesPerToken = 3;
/** Role markers and separators of the chat template. */
const tokensPerMessage = 8;

export function estimateTokens(bytes: number): number {
  return Math.ceil(bytes / bytesPerToken) + tokensPerMessage;
}

export type WindowRequest = {
  /** From the newest, which is always kept, to the oldest. */
  entries: readonly BranchEntry[];
  systemPromptBytes: number;
  /** Tokens that the engine holds for prompt and answer together; null when it is not known. */
  contextSize: number | null;
  /** What the answer may take, when the caller said. */
  maxTokens: number | undefined;
  /** 1, less after the engine has found a smaller prompt still too long. */
  share: number;
  bytesMax: number;
};

/** Ids of the messages to send, oldest first. Whole turns are dropped from the old end: the first one kept is the user's. */
export function chooseWindow(request: WindowRequest): string[] {
  const tokensMax = promptTokensMax(request);
  const kept: BranchEntry[] = [];
  let tokens = estimateTokens(request.systemPromptBytes);
  let bytes = request.systemPromptBytes;
  for (const entry of request.entries) {
    tokens += estimateTokens(entry.bytes);
    bytes += entry.bytes;
    if (kept.length > 0 && (tokens > tokensMax || bytes > request.bytesMax)) break;
    kept.push(entry);
  }
  const wasCut = kept.length < request.entries.length;
  while (wasCut && kept.length > 1 && kept.at(-1)?.role === 'assistant') kept.pop();
  return kept.reverse().map((entry) => entry.id);
}

function promptTokensMax({ contextSize, maxTokens, share }: WindowRequest): number {
  if (contextSize === null) return Number.POSITIVE_INFINITY;
  // Half of the context stays for the prompt, however much the caller asks for.
  const answer = Math.min(maxTokens ?? contextSize / 4, contextSize / 2);
  return Math.floor((contextSize - answer) * share);
}
