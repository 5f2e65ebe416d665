import type { Clock } from '../../../shared/clock.ts';
import type { MessageUsage } from '../types.ts';

/** What an API tells as a 32-bit number. */
export const tokenCountMax = 2_147_483_647;

/** Times and counts of one answer. */
export class AnswerMeter {
  readonly #clock: Clock;
  #sentAtMs: number | null = null;
  #firstAtMs: number | null = null;
  #lastAtMs: number | null = null;
  #pieces = 0;
  #leftOut: number | null = null;
  #told: { promptTokens: number; completionTokens: number } | null = null;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  requestSent(): void {
    this.#sentAtMs ??= this.#clock.monotonicMs();
  }

  piecesCame(count: number): void {
    this.#lastAtMs = this.#clock.monotonicMs();
    this.#firstAtMs ??= this.#lastAtMs;
    this.#pieces += count;
  }

  /** Earlier messages that the prompt is without. */
  leftOut(count: number): void {
    this.#leftOut = count;
  }

  /** Counts that no context holds are as good as untold: whoever reads the answer later gets them as 32-bit numbers. */
  engineTold(usage: { promptTokens: number; completionTokens: number }): void {
    if (Math.max(usage.promptTokens, usage.completionTokens) <= tokenCountMax) this.#told = usage;
  }

  /** Null when the engine was never reached. */
  get usage(): MessageUsage | null {
    if (this.#sentAtMs === null) return null;
    const completionTokens = this.#told?.completionTokens ?? this.#pieces;
    const timeToFirstTokenMs = this.#firstAtMs === null ? null : Math.round(this.#firstAtMs - this.#sentAtMs);
    return { promptTokens: this.#told?.promptTokens ?? null, completionTokens, timeToFirstTokenMs, tokensPerSecond: this.#speed(completionTokens), messagesLeftOut: this.#leftOut };
  }

  /** After the first token: the time before it belongs to the prompt. */
  #speed(tokens: number): number | null {
    if (this.#firstAtMs === null || this.#lastAtMs === null || tokens < 2) return null;
    const elapsedMs = this.#lastAtMs - this.#firstAtMs;
    return elapsedMs > 0 ? Math.round(((tokens - 1) / elapsedMs) * 100_000) / 100 : null;
  }
}

/** Of prompt and answer together, as far as they are known. */
export function tokensOf(usage: MessageUsage | null): number {
  return usage === null ? 0 : (usage.promptTokens ?? 0) + usage.completionTokens;
}
