import type { Principal } from './principal.ts';

/** Requests a minute. Over Redis where there is one, so that all processes count together; else in this process. */
export type RequestLimiter = {
  /** Counts one request; nothing to wait for where the key has no limit. Rejects with RATE_LIMITED and when to come back. */
  take(principal: Principal): Promise<void> | undefined;
};

/** Whoever pays for an answer with the tokens of a day; null where nobody's are limited. */
export type TokenPayer = { keyId: string } | null;

/** Tokens a day, counted in the database, so that all processes and the next start know of them. */
export type TokenBudget = {
  /** Rejects with QUOTA_EXCEEDED when none are left today. What runs already goes on to its end, so the last answer may go over. */
  payerOf(principal: Principal): Promise<TokenPayer>;
  /** Counts what an answer took. Resolves when it is stored, never rejects. */
  spend(payer: TokenPayer, tokens: number): Promise<void>;
};
